"""Latency, power and energy per frame of a CNN, whole and per layer, on the device in front of you.

The flow, each verb's output being the next verb's input:

    checkpoint --export--> model.onnx --build--> engine --profile--> profile.json

`perframe.export` turns a checkpoint into ONNX and counts what it costs, `perframe.engines` turns ONNX into
something that runs, `perframe.profiler` measures it, `perframe.report` shows it. Imports point one way:
cli -> report -> profiler -> engines -> export -> errors. Nothing heavy is imported before it is used.
"""

__version__ = "0.1.0"
