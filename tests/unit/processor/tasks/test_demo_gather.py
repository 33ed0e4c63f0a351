"""demo.gather: what it joins, and in which order."""

from pathlib import Path

from services.processor.task import Work
from services.processor.tasks.demo_gather import Params, Result, run


def work_in(folder: Path, **inputs: str) -> Work:
    """Inputs of these texts."""
    for name, text in inputs.items():
        (folder / name).write_text(text)
    return Work(
        source=None,
        source_name=None,
        out=folder,
        scratch=folder,
        memory_bytes=1 << 30,
        workers=1,
        progress=lambda *_: None,
        log=lambda _: None,
        inputs={name: folder / name for name in inputs},
    )


def test_the_text_comes_first_and_then_the_inputs_by_their_names(tmp_path: Path) -> None:
    outcome = run(Params(text="a"), work_in(tmp_path, right="c", left="b"))
    assert outcome.result == Result(inputs=["left", "right"], bytes=3)
    (product,) = outcome.products
    assert (product.name, product.path.read_text()) == ("gathered", "abc")


def test_without_inputs_the_text_is_all(tmp_path: Path) -> None:
    outcome = run(Params(text="a"), work_in(tmp_path))
    assert outcome.result == Result(inputs=[], bytes=1)
