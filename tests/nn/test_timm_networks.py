"""Any network of timm by its name: what is tapped, whose weights are taken, what is refused."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from subband.errors import ModelError, ParamsError
from subband.nn.backbones import Backbone, backbone_spec, canonical_backbone, weights_identity

PLAIN, STRIDED = "timm:test_vit", "timm:test_convnext"


def images(side, seed=0):
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "side"),
    [
        (PLAIN, 64),
        ("timm:test_vit3", 160),
        (STRIDED, 75),
        ("timm:test_efficientnet", 75),
        ("timm:test_resnet", 64),
        ("timm:test_mambaout", 96),
        ("timm:vit_small_patch14_dinov2", 70),
        ("timm:vit_small_patch16_dinov3", 64),
        ("timm:vit_tiny_patch16_224", 64),
        ("timm:swin_tiny_patch4_window7_224", 224),
    ],
)
@torch.inference_mode()
def test_taps_are_the_intermediate_maps_of_the_whole_network(name, side):
    backbone = Backbone(canonical_backbone(name), "random:3")
    spec = backbone.spec
    assert [tuple(maps.shape) for maps in backbone(images(side))] == [
        (2, tap.channels, tap.size(side), tap.size(side)) for tap in spec.taps
    ]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        options = {"dynamic_img_size": True} if spec.patch else {}
        whole = timm.create_model(name.removeprefix("timm:"), num_classes=0, **options).eval()
    normalised = (images(side) - backbone.mean) / backbone.std
    features = whole.forward_intermediates(
        normalised, norm=bool(spec.patch), output_fmt="NCHW", intermediates_only=True
    )
    for tap, maps in zip(spec.taps, backbone(images(side)), strict=True):
        torch.testing.assert_close(maps, features[tap.place], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "blocks", "expected", "bank"),
    [
        ("timm:vit_small_patch14_dinov2", "auto", [6, 9, 12], (2, 2)),
        ("timm:vit_large_patch14_dinov2", "auto", [12, 18, 24], (2, 2)),
        (PLAIN, "auto", [3, 5, 6], (2, 2)),
        (PLAIN, "4+2", [2, 4], (0, 1)),
        (PLAIN, "6", [6], (0, 0)),
        (PLAIN, "1+2+3", [1, 2, 3], None),
    ],
)
def test_blocks_of_a_plain_vit(name, blocks, expected, bank):
    spec = backbone_spec(name, blocks)
    assert [tap.name for tap in spec.taps] == [f"blocks.{number}" for number in expected]
    assert spec.bank == bank


def test_strides_of_the_others():
    for name in (STRIDED, "timm:test_efficientnet", "timm:regnety_002", "timm:densenet121"):
        spec = backbone_spec(name)
        assert [(tap.name, tap.reduction) for tap in spec.taps] == [("stride8", 8), ("stride16", 16), ("stride32", 32)]
        assert spec.bank == (0, 1)


def test_images_are_normalised_as_the_network_was_trained():
    assert backbone_spec(PLAIN).mean == (0.5, 0.5, 0.5)
    assert backbone_spec("timm:test_efficientnet").std == (0.229, 0.224, 0.225)
    assert backbone_spec("timm:vit_base_patch32_clip_224").mean == (0.48145466, 0.4578275, 0.40821073)


def test_a_name_has_one_spelling():
    assert canonical_backbone(PLAIN) == "timm:test_vit.r160_in1k"
    assert canonical_backbone("timm:test_vit.r160_in1k") == "timm:test_vit.r160_in1k"
    assert canonical_backbone("timm:test_vit4") == "timm:test_vit4"
    assert weights_identity(canonical_backbone("timm:vit_base_patch32_clip_224.openai"), "pretrained").endswith(
        ".openai"
    )


@pytest.mark.parametrize(
    ("name", "blocks", "words"),
    [
        ("timm:test_vitt", "auto", "did you mean 'test_vit'"),
        ("timm:test_vit.other", "auto", "'other' is not a tag of timm:test_vit .*r160_in1k"),
        ("timm:levit_128s", "auto", "no features at strides 8 .or 4. and 16, but at: 16, 32"),
        (PLAIN, "7", "has blocks 1 to 6"),
        (PLAIN, "3+3", "counted from 1"),
        (PLAIN, "0", "counted from 1"),
        (STRIDED, "2", "no plain ViT"),
        ("resnet18", "2", "no plain ViT"),
        ("resnet19", "auto", "did you mean 'resnet18'.*timm:NAME"),
    ],
)
def test_what_cannot_be_tapped_is_refused(name, blocks, words):
    with pytest.raises(ParamsError, match=words):
        backbone_spec(name, blocks)


@pytest.mark.parametrize(
    ("name", "side", "words"),
    [
        (
            "timm:vit_small_patch14_dinov2",
            256,
            "not a multiple of the patch .*14 pixels; choose for instance 252 or 266",
        ),
        ("timm:beit_base_patch16_224", 256, "does not read images of 256 pixels .*its own size is 224"),
    ],
)
def test_an_image_size_that_the_network_does_not_read_is_refused(name, side, words):
    with pytest.raises(ParamsError, match=words):
        backbone_spec(name).check_image_size(side)


@torch.inference_mode()
def test_a_state_dict_of_another_image_size_is_resized_and_its_classifier_left_out(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        trained = timm.create_model("test_vit", num_classes=10, img_size=96).eval()
    save_file(trained.state_dict(), tmp_path / "trained.safetensors")
    torch.save({"model": trained.state_dict()}, tmp_path / "wrapped.pth")
    first, second = (
        Backbone(PLAIN, str(tmp_path / name))(images(96)) for name in ("trained.safetensors", "wrapped.pth")
    )
    expected = trained.forward_intermediates(
        (images(96) - 0.5) / 0.5, indices=[2, 4, 5], norm=True, intermediates_only=True
    )
    for own, other, wanted in zip(first, second, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=0)
        # The table is resized to the size of the published network and back to that of the images.
        assert torch.cosine_similarity(own.flatten(1), wanted.flatten(1)).min() > 0.97


def test_a_state_dict_of_another_network_is_refused(tmp_path):
    deeper = timm.create_model("test_vit2").state_dict()
    torch.save(deeper, tmp_path / "deeper.pth")
    with pytest.raises(ModelError, match=r"deeper\.pth is not a state dict of timm:test_vit"):
        Backbone(PLAIN, str(tmp_path / "deeper.pth"))
    cut = timm.create_model("test_convnext").state_dict()
    del cut["stages.1.blocks.0.norm.weight"]
    torch.save(cut, tmp_path / "cut.pth")
    with pytest.raises(ModelError, match=r"stages.1.blocks.0.norm.weight is missing"):
        Backbone(STRIDED, str(tmp_path / "cut.pth"))


def test_weights_that_no_hub_and_no_package_has():
    with pytest.raises(ParamsError, match="no pip package has weights of timm:test_vit"):
        Backbone(PLAIN, "packaged")
    with pytest.raises(
        ModelError, match=r"could not be fetched .*use --backbone efficientnet_lite0 --weights packaged"
    ):
        Backbone("timm:test_vit4", "pretrained")
