"""Errors of the local stack itself, as opposed to errors of the service that runs in it."""


class LocalStackError(Exception):
    """Base class of the errors of the local stack."""


class TemplateError(LocalStackError):
    """CloudFormation would reject the template or one of its parameters."""


class UnsupportedResourceError(LocalStackError):
    """The template uses a resource type or a property that the local stack does not support."""


class DeploymentError(LocalStackError):
    """A resource could not be created; the message names its logical id and type."""


class NotFoundError(LocalStackError):
    """No deployed resource has this name."""


class ScheduleDisabledError(LocalStackError):
    """The schedule is DISABLED; EventBridge Scheduler would not fire it either."""
