"""What the program is built like.

Behaviour: docs/design/security.md, "Build": hardening flags on every file, asserts on; a program that is
           position independent, whose relocations and stack are as the flags promise, that imports none
           of the banned functions; a list of its packages that is true.
Stimulus:  the ELF file under test, the commands it was compiled by.
Oracle:    readelf and nm of binutils, Meson's compile_commands.json, dpkg.
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import OFFPEAK, ROOT  # noqa: E402

FLAGS = """-Wall -Wextra -Wformat=2 -Wconversion -Werror=format-security -U_FORTIFY_SOURCE
-D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
-ftrivial-auto-var-init=zero -fno-delete-null-pointer-checks -fno-strict-overflow
-fno-strict-aliasing""".split()
X86_ONLY = {"-fcf-protection=full"}
# Warnings are for C; the one C++ file hands simdjson's tape to C.
C_ONLY = {"-Wformat=2", "-Wconversion", "-Werror=format-security"}
BANNED = set("""strcpy stpcpy strcat strncpy strncat sprintf vsprintf strtok gets getwd atoi atol atoll
atof strtol strtoul scanf fscanf sscanf gmtime localtime asctime ctime rand srand random srandom system
popen tmpnam tempnam mktemp tmpfile execl execlp execle execv execvp execvpe vfork posix_spawn setuid
alloca __strcpy_chk __strcat_chk __sprintf_chk __vsprintf_chk __strncpy_chk __strncat_chk""".split())


def tool(*args):
    if not shutil.which(args[0]):
        pytest.skip(f"needs {args[0]} of binutils")
    return subprocess.run(args, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def imported():
    """the functions the program takes from libraries"""
    names = {line.split()[-1].split("@")[0] for line in tool("nm", "-D", "--undefined-only", OFFPEAK).splitlines()}
    if any(n.startswith(("__asan", "__ubsan", "__tsan")) for n in names):
        pytest.skip("a program with sanitizers is not the one that is hardened")
    return names


def test_position_independent_and_bound_at_start(imported):
    header, dynamic, segments = (tool("readelf", "-W", part, OFFPEAK) for part in ("-h", "-d", "-l"))
    assert re.search(r"Type:\s+DYN", header)
    assert re.search(r"\(FLAGS_1\).*\bNOW\b.*\bPIE\b", dynamic)
    assert "BIND_NOW" in dynamic
    assert not re.search(r"\((TEXTREL|RPATH|RUNPATH)\)", dynamic)
    assert re.search(r"^\s+GNU_RELRO\s", segments, re.M)
    rights = re.findall(r"^\s+(\S+)\s+0x\S+ 0x\S+ 0x\S+ 0x\S+ 0x\S+ ([R ][W ][E ])\s", segments, re.M)
    assert dict(rights)["GNU_STACK"] == "RW "
    assert [name for name, r in rights if r[1:] == "WE"] == []


def test_guards(imported):
    assert "__stack_chk_fail" in imported
    assert len([n for n in imported if n.endswith("_chk") and n != "__stack_chk_fail"]) >= 3  # fortified
    assert "__assert_fail" in imported


def test_control_flow_notes(imported):
    """Of our own objects; the C library's start files have none in Debian 12, so the program has none."""
    archives = sorted((pathlib.Path(OFFPEAK).parent / "src").glob("*.a"))
    if not archives or "X86-64" not in tool("readelf", "-h", OFFPEAK):
        pytest.skip("the program was not built here, or for another processor")
    for archive in archives:
        notes = tool("readelf", "-W", "-n", archive)
        assert notes.count("IBT, SHSTK") == len(tool("ar", "t", archive).split())


def test_banned_functions(imported):
    assert imported & BANNED == set()
    # One place makes a process (src/cli/child.c): fork and execve of this very program.
    assert {n for n in imported if n.startswith(("exec", "posix_spawn")) or n in ("fork", "clone")} \
        <= {"fork", "execve"}


def test_flags():
    commands = pathlib.Path(OFFPEAK).parent / "compile_commands.json"
    if not commands.exists():
        pytest.skip("the program was not built here, so how is not known")
    missing, seen = [], 0
    for one in json.loads(commands.read_text()):
        words = set(one["command"].split())
        if "-fsanitize=address,undefined" in words or "-O0" in words:
            pytest.skip("a build for finding faults")
        if "/src/" not in one["file"] and not one["file"].startswith("../src/"):
            continue
        seen += 1
        wanted = set(FLAGS) - (C_ONLY if one["file"].endswith(".cc") else set())
        if "clang" in one["command"].split()[0:2]:
            wanted -= {"-ftrivial-auto-var-init=zero"}  # behind another flag in clang 14
        missing += [(one["file"], flag) for flag in wanted - words - X86_ONLY]
        assert "-DNDEBUG" not in words and words & {"-fPIC", "-fPIE"}
    assert seen > 100
    assert missing == []


def test_packages(imported):
    """tools/sbom: every library the program names is there, with the version that dpkg has."""
    if not shutil.which("dpkg-query"):
        pytest.skip("no Debian: no packages to list")
    bom = json.loads(subprocess.run([ROOT / "tools" / "sbom", OFFPEAK], check=True, capture_output=True,
                                    text=True).stdout)
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.5")
    sonames = {p["value"]: c for c in bom["components"] for p in c["properties"] if p["name"] == "soname"}
    needed = set(re.findall(r"\(NEEDED\).*\[(\S+)\]", tool("readelf", "-W", "-d", OFFPEAK)))
    assert needed and needed | {"libcurl.so.4", "libmicrohttpd.so.12"} <= set(sonames)
    for component in bom["components"]:
        version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", component["name"]],
                                 check=True, capture_output=True, text=True).stdout
        assert version == component["version"]
        assert component["purl"].startswith(f"pkg:deb/debian/{component['name']}@")
