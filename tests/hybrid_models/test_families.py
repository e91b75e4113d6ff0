"""Merges, the other families, and what training minimises."""

import pytest
import torch
import torch.nn.functional as F

from hybrid_models.objective import objective, recurrent_kernels
from hybrid_models.segments import strips

IMAGES = (4, 3, 32, 32)


@pytest.mark.parametrize("branch", ["relu", "linear"])
def test_sum_adds_a_dense_branch_of_the_cnn(make_model, branch):
    model = make_model("yilmaz/cnn-lstm-skip-positions", sum_branch=branch).eval()
    images = torch.randn(IMAGES)
    feature, taps = model.backbone(images)
    dense = F.linear(feature.permute(0, 2, 3, 1).flatten(1), model.merge.branch.weight, model.merge.branch.bias)
    expected = model.merge.reader(feature) + (dense.relu() if branch == "relu" else dense)
    torch.testing.assert_close(model.merge(feature, taps), expected)
    torch.testing.assert_close(model(images), model.head(expected))
    assert (dense < 0).any()


def test_concat_puts_the_cnn_before_the_rnn(make_model):
    model = make_model("yilmaz/cnn-lstm-skip-positions", merge="concat", pool_head="gap").eval()
    feature, taps = model.backbone(torch.randn(IMAGES))
    expected = torch.cat((feature.mean(dim=(2, 3)), model.merge.reader(feature)), dim=1)
    assert expected.shape == (4, 256 + 256)
    torch.testing.assert_close(model.merge(feature, taps), expected)


def test_taps_join_the_pooled_feature(make_model):
    model = make_model("yin/resnet20+gru").eval()
    feature, taps = model.backbone(torch.randn(IMAGES))
    read = [reader(tap) for reader, tap in zip(model.merge.readers, taps, strict=True)]
    expected = torch.cat((feature.mean(dim=(2, 3)), *read), dim=1)
    torch.testing.assert_close(model.merge(feature, taps), expected)
    assert [values.shape[1] for values in read] == [16 * 128, 8 * 128, 4 * 128]
    assert all(reader.norm is not None for reader in model.merge.readers)


def test_encoder_decoder_stands_before_the_pooled_feature_and_not_before_the_taps(make_model):
    settings = {"enc_on": True, "enc_depth": 1, "enc_code": 32, "enc_bn": True}
    model, images = make_model("yin/cnn+irnn", **settings).eval(), torch.randn(IMAGES)
    feature, taps = model.backbone(images)
    coded = model.bottleneck(feature)
    assert not torch.equal(coded, feature)
    torch.testing.assert_close(model(images), model.head(model.merge(coded, taps)))


def test_lrcn_averages_the_class_probabilities_of_all_steps(make_model):
    model, images = make_model("johnson/lrcn").eval(), torch.randn(IMAGES)
    feature, _ = model.backbone(images)
    tokens = feature.permute(0, 2, 3, 1).flatten(1, 2)  # 4 x 4 positions, row by row
    states, _ = model.merge.reader.recurrence(tokens)
    per_step = [F.linear(state, model.head.logits.weight, model.head.logits.bias) for state in states.unbind(1)]
    expected = sum(logits.softmax(dim=1) for logits in per_step) / 16
    torch.testing.assert_close(model(images).softmax(dim=1), expected)
    torch.testing.assert_close(model(images).exp(), expected)


@pytest.mark.parametrize("merge", ["serial", "sum", "concat"])
@pytest.mark.parametrize("layout", ["patches_bidir", "renet4"])
def test_scans_of_patches_join_like_sequences(make_model, merge, layout):
    changes = {"layout": layout, "patch": 2, "readout": None, "rnn_bn": None if layout == "renet4" else True}
    pool = {} if merge == "serial" else {"pool_head": "flatten"}
    model = make_model("yilmaz/cnn-lstm-positions", nodes=8, merge=merge, **changes, **pool).eval()
    reader = model.merge.reader
    assert reader.width == {"patches_bidir": 2 * 16, "renet4": 2 * 2 * 16}[layout]
    feature, _ = model.backbone(torch.randn(IMAGES))
    read = reader(feature)
    assert read.shape == (4, reader.width)
    if layout == "renet4":
        torch.testing.assert_close(read, reader.renet(feature).permute(0, 2, 3, 1).flatten(1))


@pytest.mark.parametrize("layout", ["rows", "patches_bidir"])
def test_rnn_bn_normalises_what_the_rnn_gives(make_model, layout):
    changes = {"patch": 2, "readout": None} if layout == "patches_bidir" else {}
    model = make_model("yilmaz/cnn-lstm-positions", nodes=8, layout=layout, rnn_bn=True, **changes)
    read = model.merge.reader(model.backbone(torch.randn(16, 3, 32, 32))[0])
    torch.testing.assert_close(read.mean(dim=0), torch.zeros(read.shape[1]), rtol=0, atol=1e-4)


def test_strips_are_those_of_32_rows():
    rows = torch.arange(32).reshape(1, 1, 32, 1)
    assert [(strip.min().item(), strip.max().item()) for strip in strips(rows)] == [(0, 15), (8, 23), (16, 31)]
    assert [strip.flatten()[[0, -1]].tolist() for strip in strips(rows[:, :, :21])] == [[0, 9], [5, 14], [11, 20]]


def test_consensus_is_the_mean_of_the_class_scores(make_model):
    model, images = make_model("johnson/tsn").eval(), torch.randn(IMAGES)
    scores = [model.head(model.backbone(images[:, :, i : i + 16])[0].mean(dim=(2, 3))) for i in (0, 8, 16)]
    torch.testing.assert_close(model(images), sum(scores) / 3)
    assert model.head.drop.p == 0.5


def test_autoencoder_reconstructs_and_classifies_one_code(make_model):
    model, images = make_model("yilmaz/autoencoder"), torch.randn(IMAGES)
    assert model.encode(images).shape == (4, 48, 4, 4)
    assert model.decode(model.encode(images)).shape == IMAGES
    assert (model.decode(model.encode(images)) < 0).any()  # linear output
    torch.testing.assert_close(model(images), model.classify(model.encode(images)))
    small = make_model("yilmaz/autoencoder", 16)
    assert small.decode(small.encode(images[:, :, :16, :16])).shape == (4, 3, 16, 16)


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.9])
def test_mixed_loss(make_model, weight):
    model, images = make_model("yilmaz/autoencoder", recon_weight=weight), torch.randn(IMAGES)
    labels = torch.arange(4)
    loss, logits = objective(model, images, labels, label_smoothing=0.1)
    error = ((model.decode(model.encode(images)) - images) ** 2).mean()
    expected = weight * error + (1 - weight) * F.cross_entropy(model(images), labels, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logits, model(images))


@pytest.mark.parametrize(
    ("name", "num_kernels"),
    # Input and recurrent kernel of each layer and direction; two taps in yin/cnn.
    [
        ("ecrnn/cnn", 0),
        ("yilmaz/cnn-lstm", 2),
        ("ecrnn/crnn-bilstm-16-16", 8),
        ("yin/cnn+irnn", 8),
        ("yin/cnn+convlstm-peephole-printed", 8),
    ],
)
def test_penalty_is_on_kernels_alone(make_model, name, num_kernels):
    model, images, labels = make_model(name, 16), torch.randn(2, 3, 16, 16), torch.arange(2)
    model.eval()
    kernels = list(recurrent_kernels(model))
    named = [weight for key, weight in model.named_parameters() if "weight_ih" in key or "weight_hh" in key]
    assert len(kernels) == num_kernels
    assert {id(kernel) for kernel in kernels} == {id(weight) for weight in named}
    plain, _ = objective(model, images, labels)
    loss, logits = objective(model, images, labels, rnn_l2=0.01)
    expected = 0.01 * sum((kernel.double() ** 2).sum().item() for kernel in kernels)
    assert (loss - plain).item() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    torch.testing.assert_close(plain, F.cross_entropy(logits, labels))


@pytest.mark.parametrize("name", ["yilmaz/autoencoder", "johnson/lrcn", "yin/cnn+convlstm", "johnson/tsn"])
def test_losses_are_float32_under_autocast(make_model, name):
    model, images, labels = make_model(name).eval(), torch.randn(IMAGES), torch.arange(4)
    plain, _ = objective(model, images, labels)
    with torch.autocast("cpu", torch.bfloat16):
        loss, logits = objective(model, images, labels)
    assert (loss.dtype, logits.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(loss, plain, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("yin/resnet20+gru", {}),
        ("yin/vgg9+convlstm", {}),
        ("johnson/tsn", {}),
        ("yilmaz/autoencoder", {}),
        ("johnson/proposed", {}),
        ("johnson/rnn", {"wavelet": "haar_all"}),
    ],
)
def test_images_of_224_pixels(make_model, name, changes):
    model = make_model(name, 224, num_classes=1000, pool_head="gap" if "+" in name else None, **changes)
    assert model(torch.randn(2, 3, 224, 224)).shape == (2, 1000)
