"""`pvae explore`: the command that shows a run in the browser.

As in `pvae.cli.train`, signatures are options, and slow modules are imported when a command runs.
"""

from pvae.cli.run_io import check_out, open_run


def explore(
    run: str,
    data: str | None = None,
    out: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8787,
    browser: bool = True,
    device: str = "auto",
) -> None:
    """Explore a run in the browser: its latents, its data, and what the model says of each.

    The page is served on this machine until Ctrl-C, at an address with a secret token.

    Args:
        run: the run folder.
        data: other data, by name or path; by default those of the run. The test part is shown, or
            if there is none, validation or train.
        out: write the page into this .html file, of at most 5 MB, instead of serving it.
        host: address to listen on; any but 127.0.0.1 lets other machines in.
        port: port to listen on; 0 for any that is free.
        browser: open the page in the browser.
        device: auto, cpu, cuda, cuda:1, ...
    """
    from pvae.explore import Explorer, serve, write_page
    from pvae.explore.items import MOST
    from pvae.explore.numbers import numbers_of
    from pvae.explore.server import require
    from pvae.explore.static_page import SIZES

    if not 0 <= port <= 65535:
        raise ValueError(f"--port {port} is not possible: choose one from 0 to 65535.")
    check_out(out, [".html"], "The page is one file of HTML")
    if out is None:
        require()
    opened, vae, dataset, _ = open_run(run, data, device, None)
    most = MOST if out is None else SIZES[0][0]
    explorer = Explorer(vae, dataset, opened.path.name, numbers_of(opened, vae), most)
    if out is None:
        serve(explorer, host, port, browser)
    else:
        print(write_page(explorer, out))
