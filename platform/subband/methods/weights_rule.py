"""The rule that turns ``backbone=auto`` and ``weights=auto`` into a network and its weights; it stands here alone.

1. Reference mode and published presets keep their backbone with its published weights, or end with an error where these cannot be
   had: a figure beside a published one must come from the same network.
2. Embedded data is judged with packaged weights, which need no network.
3. Else the backbone's published weights are taken, if they are cached or their hub answers.
4. Else packaged weights are taken, with ``efficientnet_lite0`` where the backbone is free.

The rule is applied once, before any trial: stage keys, stored params and saved models never hold ``auto``.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import timm
import torch

from subband.decisions import Decision
from subband.errors import ParamsError
from subband.nn.backbones import backbone_spec, canonical_backbone, torchvision_weights
from subband.nn.packaged import PACKAGES, packaged_file
from subband.nn.timm_networks import TIMM, TimmSpec, hub_file

if TYPE_CHECKING:
    from subband.methods.base import Method

AUTO = "auto"
FREE_CHOICE = "efficientnet_lite0"
PROBE_SECONDS = 3.0


class WeightsChoice(NamedTuple):
    """A backbone, where its weights come from, and why; `backbone` is None where several are searched."""

    backbone: str | None
    weights: str
    reason: str

    @property
    def decision(self) -> Decision:
        """The line that jobs print and log."""
        return Decision("weights", " ".join(filter(None, (self.backbone, self.weights))), self.reason)


def choose_weights(
    published: str, backbones: Sequence[str] = (), weights: str = AUTO, *, faithful: str = "", embedded: bool = False
) -> WeightsChoice:
    """Apply the rule.

    Args:
        published: the method's published backbone.
        backbones: the backbones that are asked for; none or ``auto`` leaves the choice to the rule, several are searched.
        weights: ``auto``, or what `subband.nn.backbones.check_weights` accepts.
        faithful: what forbids another network than the published one ("reference mode", "preset phase2"); empty for nothing.
        embedded: whether the data is embedded: a demonstration, which must not need a network.

    Raises:
        ParamsError: ``auto`` is one of several backbones, or the choice is bound to weights that cannot be had here; the message
            names what would work.
    """
    names = tuple(name if name == AUTO else canonical_backbone(name) for name in backbones) or (AUTO,)
    if AUTO in names and len(names) > 1:
        raise ParamsError(
            f"backbone=auto stands alone, not beside {', '.join(name for name in names if name != AUTO)}; name the backbones "
            f"to compare, for instance {published} {FREE_CHOICE}"
        )
    free = names == (AUTO,)
    if weights != AUTO:
        if free:
            names = (FREE_CHOICE if weights == "packaged" and not faithful else published,)
        return WeightsChoice(_only(names), weights, "as asked for")
    if free:
        names = (published,)
    if faithful:
        return WeightsChoice(_only(names), "pretrained", f"{faithful} keeps its published network")
    if embedded and (free or set(names) <= set(PACKAGES)):
        return _packaged(FREE_CHOICE if free else _only(names), "the embedded demonstration needs no network")
    found, missing = _looked_up(names)
    if not missing:
        return WeightsChoice(_only(names), "pretrained", f"published ImageNet weights: {found}")
    if free:
        return _packaged(FREE_CHOICE, f"{published} cannot be had: {missing}")
    if set(names) <= set(PACKAGES):
        return _packaged(_only(names), f"published weights cannot be had: {missing}")
    raise ParamsError(f"the weights of {', '.join(names)} cannot be had ({missing}); {remedies(names)}")


def _only(names: Sequence[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _looked_up(names: Sequence[str]) -> tuple[str, str]:
    """Where the published weights of backbones come from, and why those of some cannot be had; empty if all can."""
    answers = {name: published_weights(name) for name in dict.fromkeys(names)}
    found, missing = (
        [why if len(answers) == 1 else f"{name}: {why}" for name, (has, why) in answers.items() if has == wanted]
        for wanted in (True, False)
    )
    return "; ".join(found), "; ".join(missing)


def _packaged(backbone: str | None, why: str) -> WeightsChoice:
    if backbone is not None:
        packaged_file(backbone)
    return WeightsChoice(backbone, "packaged", f"ImageNet weights of a pip package; {why}")


def remedies(names: Sequence[str], other: str = "") -> str:
    """What to type where published weights of backbones cannot be had; `other` says instead of what."""
    hub_id, file = next((hub_file(name) for name in names if name.startswith(TIMM)), ("", ""))
    fetched = f" ({file} of https://huggingface.co/{hub_id}, fetched elsewhere)" if hub_id else ""
    return (
        f"without a network use --backbone {FREE_CHOICE} --weights packaged{other}, or --weights PATH of a state dict{fetched}; "
        "with one, run again (HF_HUB_OFFLINE must not be set)"
    )


def settled_weights(published: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values of params with `backbone` and `weights` settled.

    Raises:
        ParamsError: as of `choose_weights`.
    """
    backbone, weights = str(values.get("backbone", AUTO)), str(values.get("weights", AUTO))
    if AUTO not in (backbone, weights):
        return dict(values)
    if _is_unknown(backbone):  # the params name it, and near matches
        return {**values, "weights": "pretrained" if weights == AUTO else weights}
    faithful = "reference mode" if values.get("mode") == "reference" else ""
    choice = choose_weights(published, (backbone,), weights, faithful=faithful)
    return {**values, "backbone": choice.backbone, "weights": choice.weights}


def _is_unknown(backbone: str) -> bool:
    if backbone == AUTO:
        return False
    try:
        backbone_spec(canonical_backbone(backbone))
    except ParamsError:
        return True
    return False


def published_weights(backbone: str) -> tuple[bool, str]:
    """Whether a backbone's published weights are cached or their hub answers, and a reason; each file is asked for once a process.

    No file is fetched: the hub is asked for the file's header. A host that cannot be reached is waited for once, at most
    `PROBE_SECONDS` + 1, however many files are asked for. ``HF_HUB_OFFLINE`` forbids asking any host.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    spec = backbone_spec(backbone)
    if isinstance(spec, TimmSpec):
        hub_id, file = hub_file(backbone)
        if not hub_id:
            return False, "timm publishes none"
        url, files = f"{constants.ENDPOINT}/{hub_id}/resolve/main/{file}", [file, "pytorch_model.bin"]
        cached = any(isinstance(try_to_load_from_cache(hub_id, name), str) for name in files)
    elif spec.tag is None:
        url = torchvision_weights(backbone).url
        cached = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1]).is_file()
    else:
        hub_id = timm.get_pretrained_cfg(f"{spec.architecture}.{spec.tag}").hf_hub_id
        url = f"{constants.ENDPOINT}/{hub_id}/resolve/main/model.safetensors"
        names = ("model.safetensors", "pytorch_model.bin")
        cached = any(isinstance(try_to_load_from_cache(hub_id, name), str) for name in names)
    if cached:
        return True, "cached"
    if constants.HF_HUB_OFFLINE:
        return False, "not cached, and HF_HUB_OFFLINE is set"
    host = urlsplit(url).netloc
    if host in _unreachable:
        return False, _unreachable[host]
    reached, has, why = _ask(url)
    if not reached:
        _unreachable[host] = why
    return has, why


_unreachable: dict[str, str] = {}


@functools.lru_cache(maxsize=64)
def _ask(url: str) -> tuple[bool, bool, str]:
    """Whether a host answers, whether it has the file, and a reason.

    In a thread, because looking up a host's name cannot be given a time limit.
    """
    import httpx

    answers: list[tuple[bool, bool, str]] = []

    def ask() -> None:
        try:
            status = httpx.head(url, timeout=PROBE_SECONDS).status_code
            has = status < 400
            answers.append((True, has, "the hub answers" if has else f"the hub answers with status {status}"))
        except (
            Exception
        ) as error:  # a proxy variable that is no URL raises ValueError, ImportError or httpx's own errors
            why = (
                f"not cached, and {urlsplit(url).netloc} cannot be reached ({type(error).__name__}: {str(error)[:80]})"
            )
            answers.append((False, False, why))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS + 1)
    silent = f"not cached, and {urlsplit(url).netloc} did not answer within {PROBE_SECONDS:.0f} s"
    return answers[0] if answers else (False, False, silent)


def settled_for_job(
    method: Method,
    values: Mapping[str, Any],
    searched: Mapping[str, Sequence[Any]] | None = None,
    *,
    embedded: bool,
    smoke: bool = False,
    preset: str = "",
    resumed: bool = False,
) -> tuple[dict[str, Any], Decision | None]:
    """Params of a job with `backbone` and `weights` settled, and the decision to print and log.

    Args:
        method: any; a method that trains its network keeps its own default, but for embedded data, which needs no download.
        values: plain values of params that are fixed.
        searched: params of which the job tries several values.
        embedded: whether the data is embedded.
        smoke: whether the job only checks the path: with random weights and the smallest network, which are there at once.
        preset: name of a published preset, which keeps its network; empty for none.
        resumed: whether the job goes on with stored results, for which the hub is not asked.

    Raises:
        ParamsError: as of `choose_weights`, or published weights are asked for and cannot be had.
    """
    fields, searched = method.params_type.model_fields, searched or {}
    if "weights" not in fields:
        return dict(values), None
    if fields["weights"].default != AUTO:
        if fields["weights"].default != "pretrained" or "weights" in {**values, **searched}:
            return dict(values), None
        if embedded:
            why = "the embedded demonstration needs no download: give --weights pretrained for real use"
            return {**values, "weights": "random:0"}, Decision("weights", "random:0", why)
        why = "this method trains its network, from ImageNet's weights by default; --weights random:SEED or a path also works"
        return dict(values), Decision("weights", "pretrained", why)
    backbones = [str(name) for name in searched.get("backbone", (values.get("backbone", AUTO),))]
    if any(_is_unknown(name) for name in backbones):
        return dict(values), None  # the params name it, and near matches
    asked = [str(weights) for weights in searched.get("weights", (values.get("weights", AUTO),))]
    if AUTO in asked and len(asked) > 1:
        raise ParamsError("weights=auto stands alone; compare for instance --weights packaged random:0")
    smoked = smoke and asked == [AUTO]
    if smoked:
        asked = ["random:0"]
    if smoke and backbones == [AUTO] and "packaged" not in asked:
        backbones = ["resnet18"]
    modes = searched.get("mode", (values.get("mode"),))
    faithful = "reference mode" if "reference" in modes else f"preset {preset}" if preset else ""
    published = method.params_type.published_backbone  # type: ignore[attr-defined]  # of all whose default is auto
    leading = "packaged" if "packaged" in asked else asked[0]
    choice = choose_weights(published, backbones, leading, faithful=faithful, embedded=embedded)
    names = (choice.backbone,) if choice.backbone is not None else backbones
    if "pretrained" in {*asked, choice.weights} and not resumed:
        _require_published([str(name) for name in names], faithful)
    settled = {**values, "weights": asked[0] if len(asked) > 1 else choice.weights}
    if choice.backbone is not None:
        settled["backbone"] = choice.backbone
    if smoked:
        choice = choice._replace(reason="a smoke run checks the path, not the quality")
    if len(asked) > 1:
        choice = choice._replace(weights=", ".join(asked))
    return settled, choice.decision


def _require_published(names: Sequence[str], faithful: str) -> None:
    missing = _looked_up(names)[1]
    if missing:
        bound = f"{faithful} keeps its published network, and " if faithful else ""
        other = " instead of it" if faithful else ""
        raise ParamsError(
            f"{bound}the weights of {', '.join(names)} cannot be had ({missing}); {remedies(names, other)}"
        )


def weights_record(decisions: Sequence[Decision]) -> dict[str, str]:
    """What a saved model keeps of the decision about its weights."""
    return {what: f"{choice}: {reason}" for what, choice, reason in decisions if what == "weights"}
