# shellcheck shell=sh
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# sh boot.sh STAGE LAB_DIRECTORY HOST CGROUP TREE INIT FORBIDDEN
# Turns the calling process into the holder of a host whose process 1 is INIT without the FORBIDDEN capabilities. Three stages,
# because some namespaces are made before a fork, some after it. A failure of any line ends the host; nothing stays.
set -eu
stage=$1 lab=$2 name=$3 cgroup=$4 tree=$5 init=$6 forbidden=$7
host=$lab/hosts/$name
root=$host/root

case $stage in
holder)
    # The holder itself stays outside of the part of the cgroup that the host sees as its own.
    echo 0 >"$cgroup/outside/cgroup.procs"
    exec nsenter --net="$host/net" -- \
        unshare --mount --propagation private --pid --uts --ipc --fork --kill-child -- \
        sh "$0" inside "$lab" "$name" "$cgroup" "$tree" "$init" "$forbidden"
    ;;
inside)
    echo 0 >"$cgroup/inside/cgroup.procs"
    exec unshare --cgroup -- sh "$0" root "$lab" "$name" "$cgroup" "$tree" "$init" "$forbidden"
    ;;
esac

mount -t overlay overlay -o "lowerdir=$tree,upperdir=$host/upper,workdir=$host/work" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
# What is not namespaced is the machine's: a host may look at it, not change it.
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,ro "$root/proc/sys"
if [ -e "$root/proc/sysrq-trigger" ]; then
    mount --bind /dev/null "$root/proc/sysrq-trigger"
fi
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
mount -t tmpfs -o mode=0755,nosuid tmpfs "$root/dev"
for node in null zero full random urandom tty; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/run/sshd"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
# One file for the whole lab: a new host is known to all the others at once.
mount --bind "$lab/hosts.txt" "$root/etc/hosts"
# A boot of its own: programs tell boots apart by this number.
cat /proc/sys/kernel/random/uuid >"$root/run/.boot_id"
mount --bind -o ro "$root/run/.boot_id" "$root/proc/sys/kernel/random/boot_id"

cd "$root"
mkdir -p .old
pivot_root . .old
cd /
hostname "$name"
umount --lazy /.old
rmdir /.old

exec </dev/null >/dev/null 2>&1
export container=lxc PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
case $init in
systemd) set -- /lib/systemd/systemd ;;
openrc | sysvinit) set -- /sbin/init ;;
plain) set -- /usr/sbin/sshd -D -E /var/log/sshd.log ;;
esac
exec setpriv --bounding-set="$forbidden" -- "$@"
