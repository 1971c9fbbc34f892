"""Every tensor of a file assigned to a parameter of a network of known architecture, or named as misfit."""

from perframe.export.architecture import Architecture, LayerSpec, layers
from perframe.export.tensor_names import Role, Shape, align, guess_name, role_of, sibling_name

_ROLES: tuple[tuple[Role, Role], ...] = (("weight", "bias"), ("running_mean", "running_var"))


def layer_fits(slot: LayerSpec, shape: Shape) -> bool:
    """Whether a weight may be that of the layer; a grouped one of any legal number of groups."""
    if slot.grouped:
        channels, per_group, *kernel = shape
        matches = channels == slot.out_channels and kernel == [slot.kernel, slot.kernel]
        return matches and channels % per_group == 0
    return shape == slot.weight_shape


class TensorReader:
    """Assigns every tensor to a parameter of the network and notes what does not fit."""

    def __init__(self, architecture: Architecture, shapes: dict[str, Shape]) -> None:
        self.architecture = architecture
        self.assignment: dict[str, str] = {}
        self._shapes = shapes
        self._table = layers(architecture)
        self._slots = [layer for layer in self._table if layer.kind == "conv"]
        self._order = self._slots  # the layers in the order of the file
        self._missing: list[tuple[str, Shape, str | None]] = []
        self._misshapen: list[str] = []
        self._used: set[str] = set()

    def read_own_names(self) -> None:
        """Take every tensor by our own name for it: no order can mislead then."""
        for layer in self._table:
            vectors = (
                [f"{layer.norm}.{role}" for roles in _ROLES for role in roles] if layer.norm else ["fc.bias"]
            )
            expected = {
                f"{layer.name}.weight": layer.weight_shape,
                **dict.fromkeys(vectors, (layer.out_channels,)),
            }
            for name, shape in expected.items():
                self._take(name, name if name in self._shapes else None, shape)

    def read_convolutions(self, convs: dict[str, Shape], found: dict[str, str] | None) -> None:
        """Take over a complete match, or line up layers and tensors to see what is wrong."""
        if found is not None:
            by_tensor = {name: layer for layer, name in found.items()}
            by_path = {slot.name: slot for slot in self._slots}
            self._order = [by_path[by_tensor[name]] for name in convs]
            for slot, name in zip(self._order, convs, strict=True):
                self._take(f"{slot.name}.weight", name, slot.weight_shape)
            return
        for layer, tensor in align(
            self._slots, list(convs), lambda slot, name: layer_fits(slot, convs[name])
        ):
            if layer is not None:
                self._take(f"{layer.name}.weight", tensor, layer.weight_shape)

    def read_classifier(self, name: str | None) -> None:
        """Take the fully connected layer's weight, a matrix or a 1x1 convolution."""
        fc = self._table[-1]
        shape = self._shapes[name] if name else ()
        self._take("fc.weight", name, fc.weight_shape if len(shape) != 4 else (*fc.weight_shape, 1, 1))

    def read_norms(self, vectors: list[str]) -> None:
        """Take the four vectors of each BatchNorm, and the classifier's bias."""
        bias = self._classifier_bias(vectors)
        self._take("fc.bias", bias, (self._table[-1].out_channels,))
        vectors = [name for name in vectors if name != bias]
        if 2 * sum(role_of(name)[1] is not None for name in vectors) > len(vectors):
            for roles in _ROLES:
                self._read_named(roles, vectors)
        else:
            self._read_unnamed(vectors)

    def finish(self) -> list[str]:
        """What does not fit, as phrases: missing, misshapen and extra tensors."""
        missing = []
        for ours, shape, theirs in self._missing:
            guess = theirs or guess_name(ours, self.assignment)
            called = f" ({guess})" if guess and guess != ours and guess not in self._shapes else ""
            missing.append(f"missing {ours}{called} of shape {shape}")
        extra = [
            f"extra {name} of shape {shape}" for name, shape in self._shapes.items() if name not in self._used
        ]
        return [*missing, *self._misshapen, *extra]

    def _take(self, ours: str, name: str | None, shape: Shape, guess: str | None = None) -> None:
        if name is None:
            self._missing.append((ours, shape, guess))
            return
        self._used.add(name)
        if self._shapes[name] == shape:
            self.assignment[ours] = name
        else:
            self._misshapen.append(f"{name} has shape {self._shapes[name]}, expected {shape} for {ours}")

    def _classifier_bias(self, vectors: list[str]) -> str | None:
        weight = self.assignment.get("fc.weight")
        if weight is not None:
            stem, role = role_of(weight)
            named = [name for name in vectors if role_of(name) == (stem, "bias")]
            if role is not None and named:
                return named[0]
            # Without telling names it stands right behind the weight.
            order = list(self._shapes)
            behind = order[order.index(weight) + 1 :][:1]
            if role is None and behind and behind[0] in vectors:
                return behind[0]
        return None

    def _read_named(self, roles: tuple[Role, Role], vectors: list[str]) -> None:
        """One half of every BatchNorm (Caffe keeps the halves in two layers), by the stems of their names."""
        halves: dict[str, dict[Role, str]] = {}
        for name in vectors:
            stem, role = role_of(name)
            if role in roles:
                halves.setdefault(stem, {})[role] = name
        own_biases = {
            role_of(name)[0] for ours, name in self.assignment.items() if ours.endswith(".conv.weight")
        }
        stems = [stem for stem, half in halves.items() if set(half) != {"bias"} or stem not in own_biases]

        def fits(slot: LayerSpec, stem: str) -> bool:
            return all(self._shapes[name] == (slot.out_channels,) for name in halves[stem].values())

        for slot, paired in align(self._order, stems, fits):
            if slot is None:
                continue
            half = {} if paired is None else halves[paired]
            for role in roles:
                known = next(iter(half.values()), None)
                guess = sibling_name(known, role, vectors) if known else None
                self._take(f"{slot.norm}.{role}", half.get(role), (slot.out_channels,), guess)

    def _read_unnamed(self, vectors: list[str]) -> None:
        """The order of torch within every BatchNorm: weight, bias, mean, variance."""
        expected = [
            (f"{slot.norm}.{role}", (slot.out_channels,))
            for slot in self._order
            for roles in _ROLES
            for role in roles
        ]
        pairs = align(expected, vectors, lambda entry, name: entry[1] == self._shapes[name])
        for entry, name in pairs:
            if entry is not None:
                self._take(entry[0], name, entry[1])
