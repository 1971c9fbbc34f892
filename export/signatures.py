"""What a network is called that is neither of the two families, told from its tensors.

Known networks are told by their number of parameters without the classifier, so that a network trained for
another number of classes is still known. The totals are those torchvision documents for its 1000-class
weights.
"""

import math
from collections.abc import Mapping

# Name -> (parameters with a classifier for 1000 classes, input features of that classifier).
_KNOWN: dict[str, tuple[int, int]] = {
    "AlexNet": (61_100_840, 4096),
    "VGG-11": (132_863_336, 4096),
    "VGG-11 with BatchNorm": (132_868_840, 4096),
    "VGG-13": (133_047_848, 4096),
    "VGG-13 with BatchNorm": (133_053_736, 4096),
    "VGG-16": (138_357_544, 4096),
    "VGG-16 with BatchNorm": (138_365_992, 4096),
    "VGG-19": (143_667_240, 4096),
    "VGG-19 with BatchNorm": (143_678_248, 4096),
    "ResNet-18": (11_689_512, 512),
    "ResNet-34": (21_797_672, 512),
    "ResNet-50": (25_557_032, 2048),
    "ResNet-101": (44_549_160, 2048),
    "ResNet-152": (60_192_808, 2048),
    "ResNeXt-101 32x8d": (88_791_336, 2048),
    "ResNeXt-101 64x4d": (83_455_272, 2048),
    "Wide ResNet-101-2": (126_886_696, 2048),
    "MobileNet-V2": (3_504_872, 1280),
    "MobileNet-V3 large": (5_483_032, 1280),
    "MobileNet-V3 small": (2_542_856, 1024),
    "DenseNet-121": (7_978_856, 1024),
    "DenseNet-161": (28_681_000, 2208),
    "DenseNet-169": (14_149_480, 1664),
    "DenseNet-201": (20_013_928, 1920),
    "SqueezeNet 1.0": (1_248_424, 512),
    "SqueezeNet 1.1": (1_235_496, 512),
    "ShuffleNet-V2 x0.5": (1_366_792, 1024),
    "ShuffleNet-V2 x1.0": (2_278_604, 1024),
    "ShuffleNet-V2 x1.5": (3_503_624, 1024),
    "ShuffleNet-V2 x2.0": (7_393_996, 2048),
    "MNASNet 0.5": (2_218_512, 1280),
    "MNASNet 1.0": (4_383_312, 1280),
    "EfficientNet-B0": (5_288_548, 1280),
    "EfficientNet-B1": (7_794_184, 1280),
    "EfficientNet-B2": (9_109_994, 1408),
    "EfficientNet-B3": (12_233_232, 1536),
    "EfficientNet-B4": (19_341_616, 1792),
    "EfficientNetV2-S": (21_458_488, 1280),
    "EfficientNetV2-M": (54_139_356, 1280),
    "ConvNeXt tiny": (28_589_128, 768),
    "ConvNeXt small": (50_223_688, 768),
    "ConvNeXt base": (88_591_464, 1024),
    "RegNetY-400MF": (4_344_144, 440),
    "RegNetX-400MF": (5_495_976, 400),
    "ViT-B/16": (86_567_656, 768),
    "ViT-B/32": (88_224_232, 768),
    "ViT-L/16": (304_326_632, 1024),
    "Swin-T": (28_288_354, 768),
    "Swin-S": (49_606_258, 768),
    "Swin-B": (87_768_224, 1024),
}
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def describe(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Name a network: one that is widely known, else what it is made of.

    Args:
        shapes: Name -> shape of its floating point tensors.

    Returns:
        A phrase such as "ResNet-18 (10 classes)" or "20 convolutions (0 of them depthwise), 1 fully connected
        layer, 11.7 M parameters".
    """
    parameters = {name: shape for name, shape in shapes.items() if not name.endswith(_BUFFERS)}
    total = sum(map(math.prod, parameters.values()))
    for classes, features in _classifiers(parameters):
        for name, (known_total, known_features) in _KNOWN.items():
            known_body = known_total - (known_features + 1) * 1000
            if features == known_features and total - (features + 1) * classes == known_body:
                return f"{name} ({classes} classes)"
    return _structure(parameters, total)


def _classifiers(parameters: Mapping[str, tuple[int, ...]]) -> set[tuple[int, int]]:
    """(classes, features) of every layer that may be the classifier: a matrix or a 1x1 convolution."""
    return {
        (shape[0], shape[1])
        for shape in parameters.values()
        if len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1))
    }


def _structure(parameters: Mapping[str, tuple[int, ...]], total: int) -> str:
    convolutions = [shape for shape in parameters.values() if len(shape) == 4]
    depthwise = sum(shape[1] == 1 and shape[0] > 1 and shape[2:] != (1, 1) for shape in convolutions)
    matrices = sum(len(shape) == 2 for shape in parameters.values())
    return (
        f"{_plural(len(convolutions), 'convolution')} ({depthwise} of them depthwise), "
        f"{_plural(matrices, 'fully connected layer')}, {total / 1e6:.1f} M parameters"
    )


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
