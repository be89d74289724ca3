"""The flow `shelf`: one page over many runs, written again on a schedule."""

from prefect import flow

from flows.reporting import links
from tasks.shelf.write import plan_shelf, write_shelf


@flow(name="shelf", flow_run_name="shelf {folder}", validate_parameters=True)
def shelf(folder: str, out: str, link: bool = False, replace: bool = False) -> tuple[str, ...]:
    """Write a page over all runs, joins, comparisons and studies below a folder.

    Args:
        folder: What is looked through, any fsspec URL. Nothing is written into its runs.
        out: Where the page goes, any fsspec URL: a new folder, or the shelf that is there.
        link: Link to the pages of the runs, rather than copy them. `out` then lies below `folder`.
        replace: Replace the shelf of another folder.

    Returns:
        What the shelf counts, in words.

    Raises:
        UserError: There is nothing to show, or the shelf cannot lie there. Nothing has been written then.
    """
    plan = plan_shelf(folder, out, link, replace)
    page = write_shelf(plan)
    links.link(plan.site, "index.html", page.title, links.key_of("shelf", page.title))
    return page.counts
