"""The notebook of the docs runs from its first cell to its last, shows progress and draws its plot; it is kept without outputs."""

import pathlib

import pytest

NOTEBOOK = pathlib.Path(__file__).resolve().parents[2] / "docs" / "backup" / "notebook.ipynb"


def test_it_is_kept_without_outputs():
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    import nbclient
    import nbformat

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    assert not [out for out in said if out.output_type == "error"]
    kinds = {kind for out in said for kind in out.get("data", {})}
    assert "image/png" in kinds, "no plot was drawn"
    assert "text/html" in kinds, "results have no view of their own"
    bar = [out for out in notebook.cells[3].outputs if out.output_type in ("stream", "display_data")]
    assert "100%" in str(bar), "no bar was shown"
