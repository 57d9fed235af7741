# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Distribution packages with nothing but a host's shell: what is asked, what is made of it. PRIVATE to the collection.

Debian's apt-get, dnf (and its older and smaller relatives) and Alpine's apk. Each is told to install and to nothing
else: no upgrade, no removal, no recommended extras.
"""

from __future__ import annotations

import re
import shlex
import typing as t

#: In this order; the first one that a host has is its own.
MANAGERS = ("apt-get", "dnf", "microdnf", "yum", "apk")
# A name that begins with "-" would be an option; everything else that distributions use in names is here.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_:-]{0,127}")
_LINE = re.compile(r"deb (\[[^]\n]*\] )?\S+ \S+( \S+)*")

_LOOK = r"""
for manager in @MANAGERS@ none; do
    command -v "$manager" >/dev/null 2>&1 && break
done
echo manager="$manager"
echo uid="$(id -u)"
creates=@CREATES@
if [ -n "$creates" ] && [ -e "$creates" ]; then echo exists="$creates"; fi
for package in @NAMES@; do
    case "$manager" in
        apt-get) dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ;;
        apk) apk info -e "$package" >/dev/null 2>&1 ;;
        none) false ;;
        *) rpm -q --whatprovides "$package" >/dev/null 2>&1 ;;
    esac && echo installed="$package"
done
true
"""

_APT = r"""
export DEBIAN_FRONTEND=noninteractive
set -- -q -o DPkg::Lock::Timeout=120
@REPOSITORY@
apt-get "$@" update && apt-get "$@" install --yes --no-install-recommends --no-remove @NAMES@
"""

# Lists of their own, so that the host's other repositories, which may be out of reach, are neither asked nor forgotten.
# The file that names the repository lies beside them: apt removes from the folder of its lists what is none.
_APT_REPOSITORY = r"""
own="$(mktemp -d)" && chmod 755 "$own" && mkdir -p "$own/lists/partial" || exit 1
trap 'rm -rf "$own"' EXIT
printf '%s\n' @LINE@ >"$own/sources.list"
set -- "$@" -o Dir::Etc::SourceList="$own/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$own/lists"
"""


# It knows no repository but those in a folder.
_MICRODNF_REPOSITORY = r"""
own="$(mktemp -d)" && chmod 755 "$own" || exit 1
trap 'rm -rf "$own"' EXIT
printf '%s\n' @LINES@ >"$own/holdfast-bootstrap.repo"
microdnf @OPTIONS@ --setopt=reposdir="$own" install @NAMES@
"""


class PackageError(Exception):
    """What was asked for can't be; the text says what, and what cures it."""


class Found(t.NamedTuple):
    """What a host has answered. manager: "" if it has none; exists: the path of `creates`, if it is there."""

    manager: str
    uid: int | None
    exists: str
    installed: tuple[str, ...]


def check(names: t.Sequence[str], repository: str) -> None:
    """Refuse what is no name of a package, or no repository. Raises PackageError."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise PackageError(f"{name!r} is no name of a package")
    if (
        repository
        and not (repository.startswith(("/", "http://", "https://")) and not re.search(r"\s", repository))
        and not _LINE.fullmatch(repository)
    ):
        raise PackageError(
            f"{repository!r} is no repository: give an absolute path on the host, an http or https address,"
            " or a whole line of apt's that begins with deb"
        )


def look(names: t.Sequence[str], creates: str) -> str:
    """Give the shell script that asks for all that `Found` holds."""
    return _fill(_LOOK, MANAGERS=" ".join(MANAGERS), NAMES=_words(names), CREATES=shlex.quote(creates))


def read(output: str) -> Found:
    """Read the answer; lines that are none, such as a greeting, do not count."""
    values: dict[str, str] = {}
    installed = []
    for line in output.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and key == "installed":
            installed.append(value)
        elif equals:
            values.setdefault(key, value)
    manager, uid = values.get("manager", ""), values.get("uid", "")
    return Found(
        manager if manager in MANAGERS else "",
        int(uid) if uid.isdigit() else None,
        values.get("exists", ""),
        tuple(installed),
    )


def install(manager: str, names: t.Sequence[str], repository: str) -> str:
    """Give the shell script that installs *names* with *manager*, from *repository* alone if one is given.

    Raises PackageError for a repository that the manager can't use.
    """
    if manager == "apt-get":
        lines = _fill(_APT_REPOSITORY, LINE=shlex.quote(_apt_line(repository))) if repository else ""
        return _fill(_APT, REPOSITORY=lines, NAMES=_words(names))
    if repository.startswith("deb "):
        raise PackageError(f"{manager} can't use a line of apt's: give the path or the address of the repository")
    if manager == "apk":
        # A folder of one's own has an index that nobody has signed; the path is trusted because root named it.
        only = ["--repositories-file", "/dev/null", "--repository", repository] if repository else []
        local = ["--allow-untrusted"] if repository.startswith("/") else []
        return f"apk add --no-cache {_words([*only, *local])} {_words(names)}"
    words = ["--assumeyes", "--setopt=install_weak_deps=0"]
    address = f"file://{repository}" if repository.startswith("/") else repository
    if repository and manager == "microdnf":
        section = ["[holdfast-bootstrap]", "name=holdfast-bootstrap", f"baseurl={address}", "enabled=1"]
        section += ["gpgcheck=0"] if repository.startswith("/") else []
        return _fill(_MICRODNF_REPOSITORY, LINES=_words(section), OPTIONS=_words(words), NAMES=_words(names))
    if repository:
        words += ["--disablerepo=*", f"--repofrompath=holdfast-bootstrap,{address}", "--enablerepo=holdfast-bootstrap"]
        if repository.startswith("/"):
            words.append("--setopt=holdfast-bootstrap.gpgcheck=0")
    return f"{manager} {_words(words)} install {_words(names)}"


def _apt_line(repository: str) -> str:
    if repository.startswith("/"):
        return f"deb [trusted=yes] file:{repository} ./"
    return repository if repository.startswith("deb ") else f"deb {repository} ./"


def _words(words: t.Sequence[str]) -> str:
    return " ".join(map(shlex.quote, words))


def _fill(script: str, **values: str) -> str:
    return re.sub("@([A-Z]+)@", lambda match: values.get(match[1], match[0]), script).strip()
