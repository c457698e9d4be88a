"""The command line: what is accepted, and that a wrong one is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskflow_agent.flags import FlagError, StepOptions, parse_install, parse_step


def parse(*arguments):
    options = StepOptions()
    parse_step(list(arguments), options)
    return options


def test_the_seeds_command_line():
    options = parse(
        "--wait",
        "/etc/podinfo/order",
        "--waitcontent",
        "1",
        "--out",
        "stdout",
        "--command",
        "sh",
        "-c",
        "echo step1",
    )
    assert (options.wait, options.waitcontent, options.quit) == ("/etc/podinfo/order", "1", "-1")
    assert options.out == "stdout"
    assert options.arguments == ["sh", "-c", "echo step1"]


def test_await_is_repeatable():
    assert parse("--await", "a", "--await", "b", "--command", "c").await_files == ["a", "b"]


@given(
    st.lists(
        st.sampled_from(["--", "--command", "--wait", "--version", "", "-x", "a b", "\n", "\udcff"]),
        min_size=1,
    )
)
def test_everything_after_command_is_the_command(arguments):
    assert parse("--done", "d", "--command", *arguments).arguments == arguments


def test_script_arguments_follow_two_dashes():
    options = parse("--encodefile", "f", "--script-dir", "d", "--", "--command", "x", "")
    assert options.arguments == ["--command", "x", ""]


def test_script_without_arguments():
    assert parse("--encodefile", "f", "--script-dir", "d").arguments == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--nope", "x"], "--nope"),
        (["echo"], "'echo'"),
        (["--wait"], "--wait"),
        (["--wait", "", "--command", "x"], "--wait"),
        (["--done", "a", "--done", "b", "--command", "x"], "--done"),
        (["--waitcontent", "1", "--command", "x"], "--wait"),
        (["--quit", "1", "--command", "x"], "--wait"),
        (["--grace", "soon", "--command", "x"], "--grace"),
        (["--grace", "-1", "--command", "x"], "--grace"),
        (["--grace", "nan", "--command", "x"], "--grace"),
        (["--grace", "inf", "--command", "x"], "--grace"),
        (["--termination-limit", "4097", "--command", "x"], "--termination-limit"),
        (["--termination-limit", "39", "--command", "x"], "--termination-limit"),
        (["--termination-limit", "²", "--command", "x"], "--termination-limit"),
        (["--command"], "--command"),
        (["--encodefile", "f"], "--script-dir"),
        (["--script-dir", "d", "--command", "x"], "--encodefile"),
        (["--encodefile", "f", "--script-dir", "d", "--command", "x"], "--encodefile"),
        (["--", "x"], "--encodefile"),
        ([], "--command"),
    ],
)
def test_a_wrong_flag_is_named(arguments, named):
    with pytest.raises(FlagError) as caught:
        parse(*arguments)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.outcome.exit_code == 2


def test_the_files_named_before_a_wrong_flag_are_known():
    options = StepOptions()
    with pytest.raises(FlagError):
        parse_step(["--termination-log", "log", "--done", "done", "--nope"], options)
    assert (options.termination_log, options.done) == ("log", "done")


def test_install_collects_the_pieces_of_each_script_in_order():
    options = parse_install(
        ["/agent", "--script", "1=ab", "--script", "2=x=", "--script", "1=cd==", "--scripts-dir", "/scripts"]
    )
    assert (options.directory, options.scripts_dir) == ("/agent", "/scripts")
    assert options.scripts == {"1": ["ab", "cd=="], "2": ["x="]}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "directory"),
        ([""], "directory"),
        (["--scripts-dir", "x"], "directory"),
        (["d", "--script", "a=b"], "--scripts-dir"),
        (["d", "--scripts-dir", "s", "--scripts-dir", "s"], "--scripts-dir"),
        (["d", "--script"], "--script"),
        (["d", "--scripts-dir", "s", "--script", "nothing"], "--script"),
        (["d", "--scripts-dir", "s", "--script", "../x=y"], "--script"),
        (["d", "--scripts-dir", "s", "--script", "..=y"], "--script"),
        (["d", "--scripts-dir", "s", "--script", "=y"], "--script"),
        (["d", "--nope"], "--nope"),
    ],
)
def test_a_wrong_install_flag_is_named(arguments, named):
    with pytest.raises(FlagError, match=named):
        parse_install(arguments)
