"""The command line: what is accepted, and that a wrong one is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskflow_agent.flags import (
    COMMON_FLAGS,
    STEP_FLAGS,
    FlagError,
    StepOptions,
    parse_install,
    parse_sidecar,
    parse_step,
)


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
        (["--termination-limit", "47", "--command", "x"], "--termination-limit"),
        (["--termination-limit", "²", "--command", "x"], "--termination-limit"),
        (["--command"], "--command"),
        (["--encodefile", "f"], "--script-dir"),
        (["--script-dir", "d", "--command", "x"], "--encodefile"),
        (["--encodefile", "f", "--script-dir", "d", "--command", "x"], "--encodefile"),
        (["--", "x"], "--encodefile"),
        ([], "--command"),
        (["--timeout", "0", "--command", "x"], "--timeout"),
        (["--timeout", "-1", "--command", "x"], "--timeout"),
        (["--timeout", "soon", "--command", "x"], "--timeout"),
        (["--on-error", "ignore", "--command", "x"], "--on-error"),
        (["--retries", "101", "--command", "x"], "--retries"),
        (["--retries", "-1", "--command", "x"], "--retries"),
        (["--retries", "9" * 5000, "--command", "x"], "--retries"),
        (["--result", "a", "--command", "x"], "--results-dir"),
        (["--results-dir", "d", "--result", "a", "--result", "a", "--command", "x"], "--result"),
        (["--results-of", "a=f", "--command", "x"], "--fill"),
        (["--fill", "", "--command", "x"], "--fill"),
        (["--fill", "m", "--results-of", "a", "--command", "x"], "--results-of"),
        (["--fill", "m", "--results-of", "a=", "--command", "x"], "--results-of"),
        (["--fill", "m", "--results-of", "=f", "--command", "x"], "--results-of"),
        (["--fill", "m", "--results-of", "a=f", "--results-of", "a=g", "--command", "x"], "--results-of"),
        (["--env", "NAME", "--command", "x"], "--env"),
        (["--env", "=text", "--command", "x"], "--env"),
        (["--until", "f", "--command", "x"], "--until"),
    ],
)
def test_a_wrong_flag_is_named(arguments, named):
    with pytest.raises(FlagError) as caught:
        parse(*arguments)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.outcome.exit_code == 2


@pytest.mark.parametrize("name", ["a", "A-b_9", "_", "0", "9-", "__--"])
def test_names_of_results(name):
    assert parse("--results-dir", "d", "--result", name, "--command", "x").results == [name]


@pytest.mark.parametrize("name", ["-", "-a", "a.b", "a/b", "..", "é", "a b", "a\n", "²"])
def test_what_is_no_name_of_a_result(name):
    with pytest.raises(FlagError, match="--result"):
        parse("--results-dir", "d", "--result", name, "--command", "x")


def test_the_flags_of_results_and_tries():
    options = parse(
        *("--timeout", "0.5", "--on-error", "continue", "--retries", "100", "--results-dir", "d"),
        *("--result", "a", "--result", "b", "--fill", "m", "--results-of", "one=f=g", "--results-of", "two=h"),
        *("--env", "A=", "--env", "B=x=y", "--env", "A=again", "--command", "c"),
    )
    assert (options.timeout, options.on_error, options.retries) == (0.5, "continue", 100)
    assert (options.results_dir, options.results) == ("d", ["a", "b"])
    assert (options.fill, options.results_of) == ("m", [("one", "f=g"), ("two", "h")])
    assert options.env == [("A", ""), ("B", "x=y"), ("A", "again")]


def test_what_they_are_without():
    options = parse("--command", "c")
    assert (options.timeout, options.on_error, options.retries) == (None, "stop", 0)
    assert (options.results_dir, options.fill, options.env) == (None, None, [])


def test_the_flags_of_a_sidecar():
    options = StepOptions()
    parse_sidecar(["--until", "1/done", "--until", "2/done", "--quit", "x", "--wait", "w", "--command", "c"], options)
    assert (options.until, options.wait, options.quit) == (["1/done", "2/done"], "w", "x")
    assert options.on_success == "end"
    options = StepOptions()
    parse_sidecar(["--on-success", "stay", "--command", "c"], options)
    assert options.on_success == "stay"
    with pytest.raises(FlagError, match="--on-success needs end or stay, not 'leave'"):
        parse_sidecar(["--on-success", "leave", "--command", "c"], StepOptions())


@pytest.mark.parametrize("flag", sorted(set(STEP_FLAGS) - set(COMMON_FLAGS)))
def test_a_sidecar_knows_no_flag_that_is_a_steps_alone(flag):
    with pytest.raises(FlagError, match=f"unknown flag '{flag}'"):
        parse_sidecar([flag, "1", "--command", "c"], StepOptions())


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
