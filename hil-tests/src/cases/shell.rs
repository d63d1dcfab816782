//! The shell driver: commands that the configuration names.

use anyhow::{Result, ensure};
use indoc::indoc;

use super::cases;
use crate::bench::Bench;
use crate::subject::Exporter;

cases![through_j, through_python, time_limit, refusals, output_as_it_comes];

const METHODS: &str = indoc! {r#"
    export:
      shell:
        type: jumpstarter_driver_shell.driver.Shell
        config:
          methods:
            hello: echo hello
            both: echo to stdout; echo to stderr >&2; exit 3
            arguments: 'printf "%s," "$0" "$@"'
            variable: 'echo "$COLOR and ${HIL_BENCH:+inherited}"'
            killed: kill -9 $$
            slow: {command: sleep 600, timeout: 1, description: takes its time}
            stepwise: 'echo started; until [ -e go ]; do sleep 0.05; done; echo finished'
"#};

async fn through_j(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, METHODS).await?;
    let script = indoc! {"
        set -e
        j shell --help
        j shell hello
        j shell arguments one 'two words' --three
        j shell variable -e COLOR=blue
    "};
    let output = exporter.client().shell(script).await?.ok()?.stdout();
    for text in
        ["takes its time", "hello\n", "arguments,one,two words,--three,", "blue and inherited\n"]
    {
        ensure!(output.contains(text), "{text:?} should be in the output");
    }
    Ok(())
}

async fn through_python(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, METHODS).await?;
    let script = indoc! {r#"
        import contextlib, io
        from jumpstarter.utils.env import env

        def run(method, *args, **variables):
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = getattr(client.shell, method)(*args, **variables)
            return code, out.getvalue(), err.getvalue()

        with env() as client:
            methods = "hello both arguments variable killed slow stepwise".split()
            assert client.shell.call("get_methods") == methods
            for call, expected in [
                (run("hello"), (0, "hello\n", "")),
                (run("both"), (3, "to stdout\n", "to stderr\n")),
                (run("arguments"), (0, "arguments,", "")),
                (run("arguments", "", "*", "$HOME"), (0, "arguments,,*,$HOME,", "")),
                (run("variable", COLOR="red 'n' blue"), (0, "red 'n' blue and inherited\n", "")),
                (run("killed"), (-9, "", "")),
            ]:
                assert call == expected, call
    "#};
    exporter.client().python(script).await?;
    Ok(())
}

async fn time_limit(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, METHODS).await?;
    let script = indoc! {r#"
        from jumpstarter.utils.env import env
        with env() as client:
            items = list(client.shell.streamingcall("call_method", "slow", {}))
            assert items[-1][2] == 199, items
            assert "Timeout expired while running slow" in items[-1][1], items
    "#};
    exporter.client().python(script).await?;
    Ok(())
}

async fn refusals(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, METHODS).await?;
    let script = indoc! {r#"
        from jumpstarter.client.core import DriverInvalidArgument
        from jumpstarter.utils.env import env
        from raw import raises

        def call(*args):
            return list(client.shell.streamingcall("call_method", *args))

        with env() as client:
            with raises(DriverInvalidArgument, "Method 'nonsense' not found in available methods"):
                call("nonsense", {})
            for name in "PATH", "LD_PRELOAD", "LD_ANYTHING", "HOME", "BASH_ENV", "BASH_FUNC_x":
                with raises(DriverInvalidArgument, f"Environment variable '{name}' is blocked"):
                    call("variable", {name: "x"})
            for name in "1ST", "WITH SPACE", "":
                with raises(DriverInvalidArgument, f"Invalid environment variable name: {name}"):
                    call("variable", {name: "x"})
            with raises(DriverInvalidArgument, "All arguments must be strings"):
                call("arguments", {}, 5)
            assert call("hello", None)[-1][2] == 0
    "#};
    exporter.client().python(script).await?;
    Ok(())
}

async fn output_as_it_comes(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, METHODS).await?;
    let mut run = exporter.client().start_j(&["shell", "stepwise"])?;
    run.prints("started\n").await?;
    bench.write("go", "")?;
    ensure!(
        run.ends().await?.ok()?.contains("finished\n"),
        "the output after the pause should arrive, too"
    );
    Ok(())
}
