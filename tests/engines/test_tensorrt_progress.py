from perframe.engines.tensorrt_progress import Phases


def test_a_phase_within_a_step_is_a_part_of_it() -> None:
    phases = Phases()
    assert phases.start("build", None, 4) == 0.0
    assert phases.step("build", 0) == 0.25
    assert phases.start("time tactics", "build", 2) == 0.25
    assert phases.step("time tactics", 0) == 0.375
    assert phases.finish("time tactics") == 0.375
    assert phases.step("build", 1) == 0.5


def test_what_is_done_stays_done() -> None:
    phases = Phases()
    phases.start("build", None, 2)
    phases.step("build", 0)
    # The same phase again, and one that ends before its last step.
    phases.start("again", "build", 10)
    phases.step("again", 8)
    before = phases.finish("again")
    assert phases.start("again", "build", 10) == before
    assert phases.finish("build") == before


def test_phases_without_steps_or_a_beginning_do_no_harm() -> None:
    phases = Phases()
    assert phases.step("never begun", 3) == 0.0
    assert phases.start("empty", None, 0) == 0.0
    assert phases.step("empty", 5) == 1.0
