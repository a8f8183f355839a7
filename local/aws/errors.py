"""What can go wrong with the local stack itself, as opposed to what runs in it."""


class LocalStackError(Exception):
    """Root of the errors that the local stack raises towards the person or test that uses it."""


class TemplateError(LocalStackError):
    """The template, or a parameter given to it, would be refused by CloudFormation."""


class UnsupportedResourceError(LocalStackError):
    """The template uses a resource type or a property that would be dropped here in silence."""


class DeploymentError(LocalStackError):
    """A resource could not be created; the message names its logical id and type."""


class NotFoundError(LocalStackError):
    """Nothing deployed has that name."""


class ScheduleDisabledError(LocalStackError):
    """The schedule to fire is DISABLED; EventBridge Scheduler would not fire it either."""
