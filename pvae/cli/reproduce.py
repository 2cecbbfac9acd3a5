"""`pvae reproduce`: the command that runs a published table and compares."""


def reproduce(
    table: str,
    rows: list[str] | str | None = None,
    budget: float = 1.0,
    seeds: int | None = None,
    study: str | None = None,
    jobs: int = 1,
    threads: int = 1,
    cluster: str | None = None,
) -> None:
    """Run the rows of a published table, and print ours beside theirs.

    Args:
        table: its name, such as burda2016-table1, or a YAML file of your own in the same form.
        rows: row to run, or a list such as [VAE-1,IWAE-5]; by default all. Finished runs are not
            repeated.
        budget: share of the paper's training; below 1 a row is called short, never reproduced.
        seeds: runs of each row; by default as in the table.
        study: the study folder; by default studies/TABLE, with the budget if it is below 1.
        jobs: runs at a time on this machine.
        threads: threads of each run.
        cluster: address of a Dask scheduler, such as tcp://host:8786, whose workers run instead.
    """
    from dataclasses import replace

    from pvae.checks import check_size
    from pvae.messages import choices, shown
    from pvae.storage import files
    from pvae.studies import Study, papers
    from pvae.studies.cluster import connected
    from pvae.studies.trial import check_cells

    published = papers.Table.read(table)
    wanted = [rows] if isinstance(rows, str) else rows
    if wanted == []:
        raise ValueError("rows is empty: name at least one row, or leave it out for all.")
    for name in wanted or ():
        if name not in published.rows:
            raise ValueError(
                f"{published.name} has no row {shown(name)}: {choices(name, published.rows)}"
            )
    plan = published.plan(budget, None if seeds is None else check_size("seeds", seeds))
    plan = replace(plan, threads=check_size("threads", threads))
    folder = study or f"studies/{published.name}" + (f"-{budget:g}" if budget < 1 else "")
    opened = Study(folder, plan)
    with connected(cluster) as executor:
        if executor is None:
            check_cells(opened, wanted)
        opened.run(executor, jobs, cells=wanted)
    text = papers.markdown(published, papers.compared(published, opened, budget))
    files.write(opened.path / "reproduced.md", text.encode())
    print(text)
    print(f"Study folder: {folder}")
