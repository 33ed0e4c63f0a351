"""The task kinds this processor knows: one file each in tasks/, presence is registration."""

import importlib
import pkgutil
from collections.abc import Mapping

from services.processor import tasks
from services.processor.task import Task
from shared.jobs import slug


def module_of(kind: str) -> str:
    """The import path of a kind's file."""
    return f"{tasks.__name__}.{slug(kind)}"


def load_task(kind: str) -> Task:
    """The task of one kind.

    Raises:
        ModuleNotFoundError: there is no such file.
        ValueError: the file holds a task of another name.
    """
    module = importlib.import_module(module_of(kind))
    task = module.TASK
    if not isinstance(task, Task) or task.kind != kind:
        raise ValueError(f"{module.__name__} must hold TASK = Task(kind={kind!r}, …).")
    return task


def load_tasks() -> Mapping[str, Task]:
    """Every task, by kind.

    Raises:
        ValueError: a file's task is not named like the file.
    """
    found = {}
    for module in pkgutil.iter_modules(tasks.__path__):
        task = importlib.import_module(f"{tasks.__name__}.{module.name}").TASK
        if slug(task.kind) != module.name:
            raise ValueError(f"tasks/{module.name}.py holds the kind {task.kind}.")
        found[task.kind] = load_task(task.kind)
    return found
