"""Names of kernels, from real engines of several GPUs, tell whether tensor cores are used."""

import pytest

from perframe.engines.tensorrt_tactics import uses_tensor_cores

TENSOR = (
    "volta_h884cudnn_256x128_ldg8_relu_exp_interior_nhwc_tn_v1",
    "turing_fp16_i8816cudnn_int8_128x128_ldg16_relu_small_nt_v1",
    "ampere_h1688cudnn_128x128_ldg8_relu_exp_interior_nhwc_tn_v1",
    "ampere_h16816cudnn_128x128_ldg8_relu_exp_stages_64x3_large_nhwc_tn_v1",
    "ampere_s16816gemm_bf16_128x64_ldg8_f2f_stages_32x6_nn",
    "trt_turing_cutlass_image_network_first_layer_hmma_fprop_f16f16f32_nhwc_nhwc_k64r7s7c4_stride2x2",
    "sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize32x32x64_stage3_warpsize2x1x2_tensor16x8x8",
    "sm75_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32kcrs_vect_c_32_nchw_vect_c_32"
    "_tilesize32x32x64_stage1_warpsize2x1x1_g1_tensor8x8x16_simple_t1r1s1",
    "sm50_xmma_convolution_depthwiseHMMA_FP16NHWCx8_TR3_TS3_STRIDEH1_STRIDEW1",
    "sm90_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x128x64_warpgroupsize1x1x1_g1",
    "cutlass_80_tensorop_f16_s16816gemm_f16_64x64_32x10_nn_align8",
)
NO_TENSOR = (
    "ampere_scudnn_128x64_relu_xregs_large_nn_v1",
    "ampere_fp32_icudnn_int8x4_128x64_relu_medium_nn_v1",
    "volta_sgemm_32x128_tn",
    "sm50_xmma_cublas_gemvx_f16f16_f32_f32_tn_n_int32_unit_n_launch_param4x32x32_strided_unit_stride",
    "sm70_xmma_fprop_conv1x1_i8f32_f32_f32_nchw_vect_c_4kcrs_vect_c_4_nchw_simt_small_batch_bias_relu",
    "sm50_xmma_pooling_fw_4d_FP16FP32NHWC_Average_FastDiv_CAlign8",
)
UNTOLD = (None, "", "__myl_MulSumAdd_0x8622c45a2ac50005b4481bcb604814ec", "h8844_something")


@pytest.mark.parametrize(
    ("tactic", "expected"),
    [*((t, True) for t in TENSOR), *((t, False) for t in NO_TENSOR), *((t, None) for t in UNTOLD)],
)
def test_a_name_tells_the_kind_of_kernel(tactic: str | None, expected: bool | None) -> None:
    assert uses_tensor_cores(tactic) is expected
