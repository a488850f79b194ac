"""Reads what an economy job painted for one prompt."""

from masstock.catalogue.image_models import provider_of
from masstock.database.queries.claims import Line
from masstock.errors import ModelUnavailable, Outcome, ProviderUnavailable
from masstock.services.result_copies import read_copied_line
from masstock.services.s3_client import ObjectMissing
from masstock.settings import ProviderSettings
from masstock_generate.providers import Painting, batch_provider


def read_claimed_line(model: str, line: Line, settings: ProviderSettings) -> Painting:
    """The image of the line. Raises the Outcome of a line without one, or StorageUnavailable."""
    try:
        content = read_copied_line(settings.uploads_bucket, line.key, line.offset, line.length)
    except ObjectMissing as error:
        raise ProviderUnavailable("The copy of the provider's result is gone.") from error
    return batch_provider(provider_of(model)).read_line(content)


def may_fall_back(outcome: Outcome) -> bool:
    """True if a direct call can still paint the prompt of a line with this outcome, or shows what
    is wrong."""
    return outcome.retryable or outcome.stops_execution or isinstance(outcome, ModelUnavailable)
