"""Parts of tables that Django does not bring."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.query_utils import DeferredAttribute
from django.utils.functional import Promise

from django_jobs.schedules import as_schedule
from django_jobs.serializers import dump_packed, pack

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.backends.ddl_references import Statement


class OrderedUUIDField(models.UUIDField):  # type: ignore[type-arg]
    """
    A UUID that sorts like its text on every database.

    MariaDB's own uuid type compares the parts of a UUID in another order, depending on UUID version and server release;
    jobs of one millisecond are told apart by their ids, so there an id is kept as its 32 digits.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        """Return the column type. ASCII on MySQL and MariaDB: a utf8mb4 character counts four bytes in an index."""
        if connection.vendor == "mysql":
            return "char(32) CHARACTER SET ascii COLLATE ascii_bin"
        return super().db_type(connection)

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        """Return what the driver is given."""
        if connection.vendor == "mysql" and value is not None:
            found = self.to_python(value)
            return found.hex if isinstance(found, uuid.UUID) else found
        return super().get_db_prep_value(value, connection, prepared)


class ExactCharField(models.CharField):  # type: ignore[type-arg]
    """Text that is compared byte by byte: to MySQL and MariaDB "Mail" and "mail" are one name otherwise."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        """Return the column type."""
        found = super().db_type(connection)
        return f"{found} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" if connection.vendor == "mysql" else found


class _AsText(DeferredAttribute):
    """Holds the text of whatever is assigned, so that all who read it, saved or not, see what the column has."""

    field: _Spelt

    def __set__(self, instance: models.Model, value: Any) -> None:
        instance.__dict__[self.field.attname] = self.field.as_text(value)


class _Spelt(models.Field):  # type: ignore[type-arg]
    """A field of text that takes the values which the text stands for, too. To migrations it is plain text."""

    descriptor_class: Any = _AsText

    def as_text(self, value: Any) -> Any:
        """Return the text of a value; text, None and expressions of the database stay what they are."""
        if value is None or isinstance(value, str | Promise) or hasattr(value, "resolve_expression"):
            return value
        return self.spell(value)

    def spell(self, value: Any) -> str:
        """Return the text of what is none."""
        raise NotImplementedError

    def get_prep_value(self, value: Any) -> Any:
        """Return what ``update()`` and ``filter()`` give the database."""
        return super().get_prep_value(self.as_text(value))

    def deconstruct(self) -> Any:
        """Say how a migration makes it."""
        name, _, args, kwargs = super().deconstruct()
        return name, f"django.db.models.{self.get_internal_type()}", args, kwargs


class ScheduleField(_Spelt, models.CharField):  # type: ignore[type-arg]
    """A schedule: its text, a crontab(), a timedelta, a datetime, or seconds."""

    _pyi_private_set_type: Any

    def spell(self, value: Any) -> str:
        """Return its text. Raises InvalidSchedule."""
        return str(as_schedule(value))


class PackedField(_Spelt, models.TextField):  # type: ignore[type-arg]
    """Arguments: their JSON, a list, or a dictionary."""

    _pyi_private_set_type: Any

    def spell(self, value: Any) -> str:
        """Return the JSON. Raises EncodeError, and TypeError for what is neither a list nor a dictionary."""
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return dump_packed({key: pack(item, f"{self.name}[{key!r}]") for key, item in value.items()}).decode()
        if isinstance(value, list | tuple):
            return dump_packed([pack(item, f"{self.name}[{index}]") for index, item in enumerate(value)]).decode()
        raise TypeError(f"{self.name} must be a list, a dictionary whose keys are texts, or JSON, not {value!r:.100}.")


class StateIndex(models.Index):
    """
    An index of the rows in one state: partial where the database has partial indexes, else led by the state.

    Not ``condition=``, which Django leaves out altogether on MySQL and MariaDB.
    """

    def __init__(self, *, state: int, fields: list[str], name: str) -> None:
        super().__init__(fields=fields, name=name)
        self.state = state

    def create_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor, using: str = "", **kwargs: Any
    ) -> Statement:
        """Return the statement that makes the index on this database."""
        index = models.Index(fields=["state", *self.fields], name=self.name)
        if schema_editor.connection.features.supports_partial_indexes:
            index = models.Index(fields=self.fields, name=self.name, condition=models.Q(state=self.state))
        return index.create_sql(model, schema_editor, using, **kwargs)

    def deconstruct(self) -> Any:
        """Say how a migration makes this index."""
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, "state": self.state}


class ValueIndex(models.Index):
    """
    An index of the rows in which a column has a value: partial where the database has partial indexes, else plain.

    Most rows have none, and then cost nothing.
    """

    def create_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor, using: str = "", **kwargs: Any
    ) -> Statement:
        """Return the statement that makes the index on this database."""
        index = models.Index(fields=self.fields, name=self.name)
        if schema_editor.connection.features.supports_partial_indexes:
            present = models.Q(**{f"{self.fields[0]}__isnull": False})
            index = models.Index(fields=self.fields, name=self.name, condition=present)
        return index.create_sql(model, schema_editor, using, **kwargs)
