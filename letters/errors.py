"""What a step refuses, by code. How a refusal becomes an HTTP answer stands in api.py alone."""

from __future__ import annotations

from typing import ClassVar


class Refusal(Exception):
    """A request that cannot be done as it is; `message` says what was wrong and what to do."""

    code = "invalid"

    def __init__(self, message: str, *, field: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after = retry_after


class InferenceUnavailable(Refusal):
    code = "inference_unavailable"

    def __init__(self) -> None:
        super().__init__("the model cannot be reached just now; your drawing is not lost, try again", retry_after=2)


class NoModel(Refusal):
    code = "no_model"

    def __init__(self) -> None:
        super().__init__("no model serves yet: run `manage.py register_shipped`", retry_after=30)


class DatabaseUnavailable(Refusal):
    code = "database_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "the database cannot be reached or written to just now; your drawing is not lost, try again",
            retry_after=3,
        )


class StorageUnavailable(Refusal):
    code = "storage_unavailable"

    def __init__(self) -> None:
        super().__init__("the storage of files cannot be reached just now; try again", retry_after=10)


class DrawingNotFound(Refusal):
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("there is no such drawing, or the receipt is not its own")


class KeyNotFound(Refusal):
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("this link is not whole, or none of ours: copy all of it, the part behind the # too")


class NothingGiven(Refusal):
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("this browser gave nothing, or its cookie is gone: a receipt or the link still leads there")


class NotConfirmed(Refusal):
    code = "not_confirmed"

    def __init__(self) -> None:
        super().__init__(
            "nothing was deleted: GET drawings/mine/deletion says what it would mean, and gives the `confirm` to send",
            field="confirm",
        )


class BadCursor(Refusal):
    code = "bad_cursor"

    def __init__(self) -> None:
        super().__init__("this is no cursor of ours: send the `next` of the page before", field="cursor")


class ConsentChanged(Refusal):
    code = "consent_changed"

    def __init__(self) -> None:
        super().__init__(
            "the words of the consent have changed since this page was loaded: load it again and read them first",
            field="consent_version",
        )


class ConsentRequired(Refusal):
    code = "consent_required"

    def __init__(self) -> None:
        super().__init__("a drawing is kept only with consent: send `consent: true` once it was given", field="consent")


class TokenInvalid(Refusal):
    code = "token_invalid"

    def __init__(self) -> None:
        super().__init__("this token was not made here: predict the drawing again", field="token")


class TokenExpired(Refusal):
    code = "token_expired"

    def __init__(self) -> None:
        super().__init__("this token is too old: predict the drawing again", field="token")


class TokenMismatch(Refusal):
    code = "token_mismatch"

    def __init__(self) -> None:
        super().__init__("this token belongs to another drawing: predict this one", field="token")


class TokenUnknownModel(Refusal):
    code = "token_unknown_model"

    def __init__(self) -> None:
        super().__init__(
            "this token names a model that is not registered here: predict the drawing again", field="token"
        )


class IdempotencyConflict(Refusal):
    code = "idempotency_conflict"

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used for another drawing or letter: use a fresh one")


class QuotaExceeded(Refusal):
    code = "quota_exceeded"

    def __init__(self, quota: int, retry_after: int) -> None:
        super().__init__(f"thank you! {quota} letters a day is all we keep of one person", retry_after=retry_after)


class TooManyRequests(Refusal):
    """A network did more than one may; in `_WORDS` stands what, by the quota's name."""

    code = "throttled"
    _WORDS: ClassVar[dict[str, str]] = {
        "kept": "{count} letters in {while_} is all that is taken from one network",
        "contributors": "{count} new contributors in {while_} is all that one network may bring",
        "pictures": "{count} pictures in {while_} is all that is read for one network; strokes are not counted here",
        "reports": "{count} reports in {while_} is all that is taken from one network",
    }

    def __init__(self, name: str, count: int, seconds: int, retry_after: int) -> None:
        words = self._WORDS.get(name, "too many requests from this network, {count} in {while_} is all it may do")
        said = words.format(count=count, while_=_in_words(seconds))
        super().__init__(f"{said}: wait {_in_words(retry_after)}, then try again", retry_after=retry_after)


def _in_words(seconds: int) -> str:
    """61 as 2 minutes."""
    for unit, length in (("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= length:
            number = -(-seconds // length)
            return f"{number} {unit}{'s' if number > 1 else ''}"
    return "a moment"


class LetterNotShown(Refusal):
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("there is no such letter in public, or it is there no longer")


class BadReport(Refusal):
    code = "bad_report"

    def __init__(self) -> None:
        super().__init__("choose what is wrong with this letter", field="reason")


class ReportsUncounted(Refusal):
    code = "reports_uncounted"

    def __init__(self) -> None:
        super().__init__("reports cannot be taken just now: try again in a minute", retry_after=60)


class NothingToLearn(Refusal):
    code = "nothing_to_learn"


class BadConfiguration(Refusal):
    code = "bad_configuration"


class CannotTrain(Refusal):
    code = "cannot_train"


class RunNotFound(Refusal):
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("there is no such training run")


class ModelNotFound(Refusal):
    code = "not_found"

    def __init__(self, number: object) -> None:
        super().__init__(f"there is no model {number}; GET /api/v1/models lists them")


class ReasonRequired(Refusal):
    code = "reason_required"

    def __init__(self) -> None:
        super().__init__("say why: the reason stands in the history", field="reason")


class ModelUnfit(Refusal):
    code = "model_unfit"


class BadDecision(Refusal):
    code = "bad_decision"


class DrawingGone(Refusal):
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("this drawing is gone: whoever drew it took it back")


class AlreadyReviewed(Refusal):
    code = "already_reviewed"

    def __init__(self, last: str) -> None:
        super().__init__(f"{last}, after you had seen this drawing; nothing was changed")


class CardTaken(Refusal):
    code = "card_taken"


class NothingToUndo(Refusal):
    code = "nothing_to_undo"

    def __init__(self) -> None:
        super().__init__("no decision of yours stands that could be taken back")


class NothingToExport(Refusal):
    code = "nothing_to_export"

    def __init__(self, withheld: int) -> None:
        kept = f" ({withheld} may not be given away: their contributors agreed to less)" if withheld else ""
        super().__init__(f"there is no such drawing to export yet{kept}: approve some in the review first")


class ExportNotFound(Refusal):
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("there is no such export, or its file is not there yet")


class ExportWithdrawn(Refusal):
    code = "export_withdrawn"

    def __init__(self) -> None:
        super().__init__(
            "a drawing in this file was withdrawn or deleted after it was made, so it is no longer handed out: "
            "make a new export, which leaves that drawing out"
        )


class MapNotFound(Refusal):
    code = "not_found"


class CannotMap(Refusal):
    code = "cannot_map"


class ContributorNotFound(Refusal):
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("there is no such contributor")


class UnreadableSource(Refusal):
    code = "unreadable_source"

    def __init__(self, source: str, why: str) -> None:
        super().__init__(f"{source} cannot be read ({why}): name an .ndjson file or a folder of pictures")


class ImportDiffers(Refusal):
    code = "import_differs"

    def __init__(self, name: str, agreed: str) -> None:
        super().__init__(
            f"an import named {name!r} was made with other words of consent (“{agreed}”): "
            "give the same words, or another --name"
        )
