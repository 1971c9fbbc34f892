"""Which rails make up the power of each NVIDIA Jetson board.

Sources: the chapters on power of NVIDIA's Jetson Linux Developer Guide (r32.7 for Nano, TX2 and Xavier; r35 and r36 for
Orin) and the Jetson AGX Xavier Product Design Guide (which input feeds which rail); NVIDIA's answer on Thor's INA238,
https://forums.developer.nvidia.com/t/366461; Linux, arch/arm64/boot/dts/nvidia (module numbers, labels, shunts):
tegra194-p2888.dtsi, tegra234-p3701.dtsi, tegra234-p3767.dtsi, tegra264-p3834.dtsi; code names as in NVIDIA's
Jetson.GPIO. Labels are compared whole, since one rail's label is often part of another's.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from perframe.profiler.sensors.base import Domain

# Worst case by TI's data sheet (SBOS576) is 0.25 % of gain for each of shunt and bus voltage; NVIDIA gives no tolerance
# for its shunts, so 1 % is assumed: 1.5 % in all. What matters more is the offset of the shunt voltage, 40 uV typical,
# 8 mA at 5 mOhm. A module fed with 5 V reads 0.04 W off, one fed with 20 V 0.16 W: 2.5 % of 6.4 W.
_ONE_INPUT_RAIL = 0.04

# Two rails at 20 V and 2 mOhm (AGX Orin), or five at 5 mOhm (AGX Xavier), are 0.8 W off if all offsets have one sign,
# which is 4 % of 20 W, on top of the 1.5 %.
_SUM_OF_RAILS = 0.06

# INA238 (SLYS025): 0.1 % of gain, 5 uV of offset, behind a shunt of 1 %.
_INA238_RAIL = 0.02


@dataclass(frozen=True)
class Board:
    """What is known of a board's rails.

    Attributes:
        name: The product.
        ids: Its module numbers and code names, as they stand in the device tree's `compatible`.
        summed: Labels of the rails whose sum is the board's power.
        shown: Labels of rails that must not be added: they lie inside a summed one, or outside of `domain`.
        domain: What the sum includes.
        not_included: What it leaves out, for people.
        absolute_uncertainty: How far the sum may be off, relative, at the power of a busy board.
    """

    name: str
    ids: frozenset[str]
    summed: tuple[str, ...]
    shown: tuple[str, ...]
    domain: Domain
    not_included: str
    absolute_uncertainty: float


BOARDS = (
    Board(
        "Jetson Nano",
        frozenset({"p3448", "p3450", "jetson-nano"}),
        ("POM_5V_IN",),
        ("POM_5V_GPU", "POM_5V_CPU"),
        "module",
        "carrier board, fan and USB devices",
        _ONE_INPUT_RAIL,
    ),
    Board(
        "Jetson TX2",
        frozenset({"p3310", "p3489", "p2771", "quill", "lightning", "storm"}),
        ("VDD_IN",),
        # The second line is on the carrier board, fed beside VDD_IN and not from it.
        (
            *("VDD_SYS_GPU", "VDD_SYS_SOC", "VDD_4V0_WIFI", "VDD_SYS_CPU", "VDD_SYS_DDR"),
            *("VDD_MUX", "VDD_5V0_IO_SYS", "VDD_3V3_SYS", "VDD_3V3_IO_SLP", "VDD_1V8_IO", "VDD_3V3_SYS_M2"),
        ),
        "module",
        "carrier board, fan and USB devices",
        _ONE_INPUT_RAIL,
    ),
    Board(
        "Jetson TX2 NX",
        frozenset({"p3636"}),
        ("VDD_IN",),
        ("VDD_CPU_GPU", "VDD_SOC"),
        "module",
        "carrier board, fan and USB devices",
        _ONE_INPUT_RAIL,
    ),
    Board(
        "Jetson Xavier NX",
        frozenset({"p3668"}),
        ("VDD_IN",),
        ("VDD_CPU_GPU_CV", "VDD_SOC"),
        "module",
        "carrier board, fan and USB devices",
        _ONE_INPUT_RAIL,
    ),
    Board(
        "Jetson AGX Xavier",
        frozenset(
            {"p2888", "p2972", "galen", "galen-industrial", "jetson-xavier", "jetson-xavier-industrial"}
        ),
        # SYS5V is fed from the module's 5 V input and the others from its high-voltage input, so none lies in another.
        ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
        (),
        "module",
        "what of the module is fed from its high-voltage input past these six rails, carrier board, fan",
        _SUM_OF_RAILS,
    ),
    Board(
        "Jetson Orin NX or Orin Nano",
        frozenset({"p3767"}),
        ("VDD_IN",),
        ("VDD_CPU_GPU_CV", "VDD_SOC"),
        "module",
        "carrier board, fan and USB devices",
        _ONE_INPUT_RAIL,
    ),
    Board(
        "Jetson AGX Orin",
        frozenset({"p3701"}),
        # VIN_SYS_5V0 is no total: it feeds inputs, outputs and the memory, whose VDDQ_VDD2_1V8AO the Developer Guide
        # declares included in it.
        ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
        ("VDDQ_VDD2_1V8AO",),
        "module",
        "what of the module is fed from its high-voltage input past these three rails, carrier board, fan",
        _SUM_OF_RAILS,
    ),
    Board(
        "Jetson Thor",
        frozenset({"p3834"}),
        # Measured where the supply enters the carrier board, so everything else lies inside it.
        ("VIN",),
        ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"),
        "board",
        "loss in the power supply",
        _INA238_RAIL,
    ),
)

# A module number with SKU, revision and the like behind it: p3767-0005-super.
_MODULE = re.compile(r"(p\d{4})(-\w+)*")


def board_of(compatible: Iterable[str]) -> tuple[Board, str] | None:
    """Recognise a board by the device tree's `compatible` strings, such as "nvidia,p3737-0000+p3701-0005".

    Returns:
        The board and the module as it calls itself ("p3701-0005"); None if no board or several are named.
    """
    # Carrier and module are joined by a plus; a carrier's own number stands in no table.
    parts = [part for text in compatible for part in text.partition(",")[2].split("+")]
    found = {
        part: board
        for part in parts
        for board in BOARDS
        if part in board.ids or ((match := _MODULE.fullmatch(part)) and match[1] in board.ids)
    }
    if len({board.name for board in found.values()}) != 1:
        return None
    # Numbers before code names, since they tell variants apart.
    module = min(found, key=lambda part: _MODULE.fullmatch(part) is None)
    return found[module], module
