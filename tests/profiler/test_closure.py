"""Whether layers add up to their network, and with what certainty."""

import math
from dataclasses import replace

import numpy as np
import pytest

from perframe.profiler.bench import weighted_sum
from perframe.profiler.closure import attributed_closure, closure_of, closure_quality
from perframe.profiler.marginal import slope
from perframe.profiler.replayed import Call
from perframe.profiler.result import (
    BatchResult,
    Closure,
    Energy,
    Latency,
    LayerMeasurement,
    LayerResult,
    Quality,
    WarmUp,
)
from perframe.profiler.stats import Estimate


def estimate(value: float, half: float = 0.0) -> Estimate:
    return Estimate(value, value - half, value + half, 4)


def test_half_widths_of_a_sum_add_in_quadrature() -> None:
    found = weighted_sum([(2.0, estimate(10.0, 3.0)), (-1.0, Estimate(5.0, -3.0, 13.0, 9))])
    assert (found.value, found.low, found.high, found.n) == (15.0, 5.0, 25.0, 4)
    assert weighted_sum([(1.0, estimate(1.0)), (1.0, Estimate(1.0, None, None, 1))]).low is None


def test_the_slope_of_a_line_is_found_exactly() -> None:
    found = slope([0.0, 0.0, 3.0, 6.0], [1.0, 1.0, 7.0, 13.0])
    assert found.value == pytest.approx(2.0) and found.n == 4
    assert found.low == pytest.approx(2.0) and found.high == pytest.approx(2.0)


def test_the_slopes_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    x = [0.0, 5.0, 10.0] * 3
    held = 0
    for _ in range(1000):
        found = slope(x, [3.0 + 0.7 * each + float(random.standard_normal()) for each in x])
        assert found.low is not None and found.high is not None
        held += found.low <= 0.7 <= found.high
    assert 930 <= held <= 970


def layer(name: str, share: float, *measured: LayerMeasurement) -> LayerResult:
    return LayerResult(
        name=name,
        module=name,
        op="Conv",
        onnx_nodes=(name,),
        overhead=False,
        latency_s=share,
        share=share,
        macs=None,
        params=None,
        activations=None,
        intensity=None,
        groups=None,
        group_size=None,
        energy_j=None,
        energy_method=None,
        measured=measured,
    )


def replayed(latency_s: float, energy_j: float | None) -> LayerMeasurement:
    return LayerMeasurement("replayed", estimate(latency_s), None if energy_j is None else estimate(energy_j))


def network(*layers: LayerResult) -> BatchResult:
    """One second and 100 J above idle per inference of 4 frames."""
    energy = Energy(
        kind="measured",
        sensor="nvml",
        domain="gpu",
        epf_j=estimate(40.0),
        epf_above_idle_j=estimate(25.0),
        power_w=estimate(160.0),
        idle_w=60.0,
        relative_uncertainty=0.0,
        absolute_uncertainty=None,
        counter_epf_j=None,
        update_period_s=0.1,
        edge_error=0.0,
        details={},
        windows=(),
    )
    return BatchResult(
        batch=4,
        inputs_sha256="",
        warm_up=WarmUp(1.0, 10, True),
        latency=Latency(1.0, 1.0, 1.0, estimate(1.0, 0.01), 4.0, 100),
        energy=energy,
        paced=None,
        device_state=None,
        layers=layers,
        layers_sum_s=1.0,
        layers_gap_s=0.0,
        attributed_share=1.0,
        quality=(),
    )


NO_CALL = Call(estimate(0.0), estimate(0.0))


def test_layers_that_add_up_leave_no_residual() -> None:
    whole = network(layer("a", 0.6, replayed(0.55, 16.0)), layer("b", 0.4, replayed(0.45, 9.0)))
    found = closure_of(whole, "replayed", NO_CALL)
    assert found.covered == pytest.approx(1.0)
    assert found.latency_residual is not None and found.energy_residual is not None
    assert found.latency_residual.value == pytest.approx(0.0)
    assert found.energy_residual.value == pytest.approx(0.0)
    # The network's own latency is known to 1 %.
    assert found.latency_residual.high == pytest.approx(0.01)
    assert not list(closure_quality([found]))


def test_what_a_call_costs_belongs_to_the_network_once() -> None:
    call = Call(estimate(0.1), estimate(8.0))
    found = closure_of(network(layer("a", 1.0, replayed(0.9, 23.0))), "replayed", call)
    assert found.latency_residual is not None and found.latency_residual.value == pytest.approx(0.0)
    assert found.energy_residual is not None and found.energy_residual.value == pytest.approx(0.0)
    assert found.call_j is not None and found.call_j.value == pytest.approx(2.0)


def test_layers_left_out_are_taken_for_what_their_time_says() -> None:
    left_out = LayerMeasurement("replayed", reason="The time budget of 5 s was used up.")
    whole = network(layer("a", 0.5, replayed(0.5, 15.0)), layer("b", 0.5, left_out))
    found = closure_of(whole, "replayed", NO_CALL)
    assert found.covered == 0.5
    assert found.energy_residual is not None and found.energy_residual.value == pytest.approx(0.2)
    # It may well be true of this layer: that is what it was measured for.
    (quality,) = closure_quality([found])
    assert quality.severity == "info" and "50% of the layers' time" in quality.message


def test_nothing_measured_is_no_residual() -> None:
    whole = network(layer("a", 1.0, LayerMeasurement("replayed", reason="No kernel.")))
    found = closure_of(whole, "replayed", NO_CALL)
    assert found.covered == 0.0 and found.latency_residual is None and found.energy_residual is None
    without = closure_of(network(layer("a", 1.0, replayed(1.0, None))), "replayed", NO_CALL)
    assert without.latency_residual is not None and without.energy_residual is None


def judged(closure: Closure) -> list[Quality]:
    return list(closure_quality([closure]))


def test_more_than_a_tenth_off_is_a_visible_failure() -> None:
    closed = Closure("replayed", False, 1.0, estimate(0.0), estimate(0.10, 0.02))
    assert not judged(closed)
    (surely,) = judged(replace(closed, energy_residual=estimate(0.15, 0.02)))
    assert (surely.code, surely.severity) == ("closure", "invalid")
    assert "energies" in surely.message and "115% (95 %: 113% to 117%)" in surely.message
    (perhaps,) = judged(replace(closed, energy_residual=estimate(0.15, 0.10)))
    assert perhaps.severity == "warning"
    (too_little,) = judged(replace(closed, latency_residual=estimate(-0.2, 0.01)))
    assert too_little.severity == "invalid" and "latencies" in too_little.message
    (unknown,) = judged(replace(closed, energy_residual=Estimate(0.5, None, None, 1)))
    assert unknown.severity == "warning"


def test_a_part_that_costs_more_than_the_whole_fails_however_small() -> None:
    (quality,) = judged(Closure("marginal", False, 0.3, None, estimate(3.0, 0.1)))
    assert quality.severity == "invalid" and "--layer-energy replayed" in quality.hint


def test_what_closes_by_construction_proves_nothing() -> None:
    closure = attributed_closure(network(layer("a", 0.25), layer("b", 0.75)))
    assert closure.by_construction and math.isclose(closure.covered, 1.0)
    assert closure.energy_residual is None and not judged(closure)


def test_warm_replays_are_a_lower_bound_and_not_judged() -> None:
    assert not judged(Closure("replayed-warm", False, 1.0, estimate(-0.3), estimate(-0.3)))
