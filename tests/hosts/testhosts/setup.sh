# shellcheck shell=sh
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs once inside the new root tree, as root, before any host uses it.

# Nothing that belongs to a machine rather than to a namespace, and nothing that wakes up during a test.
mkdir -p /etc/systemd/system
for unit in systemd-modules-load.service systemd-pstore.service e2scrub_reap.service getty@.service \
    dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
    sys-fs-fuse-connections.mount apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer fstrim.timer; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done

if [ -e /etc/inittab ]; then
    # Neither terminals nor a machine's hardware: what a container has.
    sed -i '/getty/d; /ctrlaltdel/d; /powerwait\|powerfail\|powerokwait/d' /etc/inittab
fi

# Of the suites only this one starts by itself.
ln -sf /dev/null /etc/systemd/system/supervisor.service
if [ -e /etc/init.d/supervisor ]; then
    update-rc.d -f supervisor remove
fi

# A person without any privilege, and one who may become root.
useradd --create-home --shell /bin/bash ordinary
useradd --create-home --shell /bin/bash admin
echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin
chmod 0440 /etc/sudoers.d/admin

# The keys of a lab are put in at the start of a host, the same ones for all three.
cat >/etc/ssh/sshd_config.d/lab.conf <<'END'
AuthorizedKeysFile /etc/ssh/lab_keys
PasswordAuthentication no
MaxSessions 100
MaxStartups 100
PrintMotd no
END
sed -i '/pam_motd\|pam_mail/d' /etc/pam.d/sshd

# Every host gets these of its own.
: >/etc/machine-id
: >/etc/hostname
: >/etc/hosts
: >/etc/resolv.conf
rm -rf /var/lib/dbus/machine-id /var/cache/apt/archives /var/lib/apt/lists
mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial /run/sshd
