"""How every program begins and ends."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ics.errors import UserError
from ics.files import write_text
from ics.program import program

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.py"))


@pytest.mark.parametrize(
    ("problem", "status", "words"),
    [
        (UserError("no figure 'x'"), 2, "error: no figure 'x'\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "out/a.png"),
            2,
            "error: out/a.png: No space left on device\n",
        ),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
)
def test_what_a_person_can_mend_is_one_line(
    problem: BaseException, status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @program
    def main(arguments: list[str] | None) -> None:
        raise problem

    assert main([]) == status
    assert capsys.readouterr() == ("", words)


def python(code: str, **environment: str) -> "subprocess.Popen[str]":
    variables = os.environ | environment
    command = [sys.executable, "-c", f"import sys\nfrom ics.program import program\n{code}\nsys.exit(main([]))"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables)


def test_a_reader_that_has_gone_is_no_error() -> None:
    process = python("@program\ndef main(_):\n    while True: print('line', flush=True)")
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == ""


def test_any_terminal_will_do() -> None:
    code = "@program\ndef main(_):\n    import matplotlib\n    print('‖G − G′‖₂', matplotlib.get_backend())"
    process = python(code, PYTHONIOENCODING="ascii", MPLBACKEND="module://no.such")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert out == "\\u2016G \\u2212 G\\u2032\\u2016\\u2082 agg\n"


def test_closed_streams_are_no_error() -> None:
    process = python("sys.stdout = sys.stderr = None\n@program\ndef main(_):\n    print(1, sys.stderr)\n    return 3")
    assert process.wait(60) == 3


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"]])
def test_hydras_own_pages_may_be_cut_short(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *words]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_link_stays_one_and_a_pipe_takes_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("old")
    (tmp_path / "link.html").symlink_to("page.html")
    write_text(tmp_path / "link.html", "new")
    assert (tmp_path / "link.html").is_symlink() and (tmp_path / "page.html").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    reader, writer = os.pipe()
    (tmp_path / "stdout").symlink_to(f"/proc/self/fd/{writer}")  # as /dev/stdout is, of a pipe
    for name, end in (("pipe", os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)), ("stdout", reader)):
        write_text(tmp_path / name, "text")
        assert os.read(end, 10) == b"text" and (tmp_path / name).is_fifo()


def test_a_failed_write_leaves_the_file_as_it_was_and_names_it(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "claims.csv"
    write_text(path, "before")
    process = os.fork()
    if process == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        try:
            write_text(path, "much longer than ten bytes")
        except OSError as error:
            os._exit(0 if error.filename == str(path) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["claims.csv"] and path.read_text() == "before"


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_such_a_program_and_imports_nothing_before_it(script: str) -> None:
    text = (ROOT / "scripts" / script).read_text()
    assert re.search(r"^@program\ndef main\(", text, re.MULTILINE)
    imported = re.findall(r"^(?:from|import) ([\w.]+)", text, re.MULTILINE)
    assert set(imported) <= sys.stdlib_module_names | {"ics.program"}
