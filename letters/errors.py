"""What a step refuses, by code. How a refusal becomes an HTTP answer stands in api.py alone."""

from __future__ import annotations


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


class DrawingNotFound(Refusal):
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("there is no such drawing, or the receipt is not its own")


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
