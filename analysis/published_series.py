"""The published tables as series, so that one formula serves them and the results at hand."""

from functools import lru_cache

from perframe.analysis.designs import recognised
from perframe.analysis.means import Mean
from perframe.analysis.published import published_epf
from perframe.analysis.series import Conditions, Network, Series, by_macs
from perframe.engines.base import ModelInfo
from perframe.export.architecture import count, layers, make_architecture


@lru_cache(maxsize=1)
def published_series() -> tuple[Series, ...]:
    """Return the published tables as series: 2 backbones on 2 GPUs at 3 batch sizes."""
    cells: dict[tuple[str, int, str], list[Network]] = {}
    for cell in published_epf():
        rule = {"group_size" if cell.variant == "E2GC" else "groups": cell.number}
        network = Network(_published_model(cell.family, **rule), Mean(cell.epf_j, None, 0, 1), None)
        cells.setdefault((cell.device, cell.batch, cell.family), []).append(network)
    found = []
    for (device, batch, _), networks in cells.items():
        known = recognised(networks[0].model)
        assert known is not None, "the published networks are of the two families"
        conditions = Conditions(device, None, "fp32", "training", "nvidia-smi", "measured", frozenset())
        found.append(Series(conditions, batch, known[0], tuple(sorted(networks, key=by_macs))))
    return tuple(found)


def _published_model(family: str, *, group_size: int | None = None, groups: int | None = None) -> ModelInfo:
    architecture = make_architecture(family, group_size=group_size, groups=groups)
    params, macs = count(architecture)
    return ModelInfo(
        name=architecture.name,
        family=architecture.family,
        variant=architecture.variant,
        group_size=architecture.group_size,
        groups=architecture.groups,
        precision="fp32",
        input_shape=(3, 224, 224),
        sha256=None,
        params=params,
        macs=macs,
        activations=sum(layer.activations((224, 224)) for layer in layers(architecture)),
    )
