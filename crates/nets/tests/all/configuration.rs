//! Configurations: their work counted by hand, what they refuse and how they read from a recipe.

use base::Device;
use nets::{ConditionConfig, DitConfig, JointDitConfig, NetConfig, Resampling, UnetConfig};

#[test]
fn flops_match_a_count_by_hand() {
    // One level, one block, width 8, 2x2 pixels, no condition. Sinusoids 16 -> 32 -> 32.
    let unet =
        UnetConfig { channels: 8, multipliers: vec![1], condition: ConditionConfig::default(), ..Default::default() };
    let embedding = 16 * 32 + 32 * 32;
    let block = |input: usize| 4 * 9 * input * 8 + 32 * 16 + 4 * 9 * 8 * 8 + if input == 8 { 0 } else { 4 * input * 8 };
    // Down one block, middle two, up two on concatenations of 16; conv_in from and conv_out to one channel.
    let macs = embedding + 4 * 9 * 8 + 3 * block(8) + 2 * block(16) + 4 * 9 * 8;
    assert_eq!(NetConfig::Unet(unet).cost([1, 2, 2], 0).unwrap().forward_flops_per_sample, 2 * macs as u64);

    // One block of width 8, two heads, four tokens of one pixel; attention 2 * 4 * 4 * 8 multiply-adds.
    let dit = DitConfig { patch: 1, width: 8, depth: 1, heads: 2, ..DitConfig::default() };
    let embedding = 256 * 8 + 8 * 8;
    let block = 8 * 48 + 4 * (8 * 24 + 8 * 8 + 8 * 32 + 32 * 8) + 2 * 4 * 4 * 8;
    let macs = embedding + 4 * 8 + block + 8 * 16 + 4 * 8;
    assert_eq!(NetConfig::Dit(dit).cost([1, 2, 2], 0).unwrap().forward_flops_per_sample, 2 * macs as u64);

    // Two blocks of width 8, four image tokens and sixteen of text; the second block's text gives keys and values alone.
    let condition = ConditionConfig { tokens: 3, ..ConditionConfig::default() };
    let mmdit = JointDitConfig { patch: 1, width: 8, depth: 2, heads: 2, condition, ..Default::default() };
    let whole = |rows: usize| 8 * 48 + rows * (4 * 8 * 8 + 2 * 8 * 32);
    let blocks = 2 * whole(4) + whole(16) + (8 * 16 + 16 * 2 * 8 * 8) + 2 * 20 * 20 * 8 + 2 * 4 * 20 * 8;
    let macs = embedding + 4 * 8 + 16 * 3 * 8 + blocks + 8 * 16 + 4 * 8;
    assert_eq!(NetConfig::Mmdit(mmdit).cost([1, 2, 2], 0).unwrap().forward_flops_per_sample, 2 * macs as u64);
}

#[test]
fn impossible_configurations_are_refused_with_their_numbers() {
    let unet =
        |config: UnetConfig, shape| NetConfig::Unet(config).init(0, shape, 0, &Device::flex()).unwrap_err().to_string();
    let message = unet(UnetConfig { multipliers: vec![1, 2, 2, 2], ..Default::default() }, [1, 28, 28]);
    assert!(message.contains("28x28") && message.contains("multiple of 8"), "{message}");
    let message = unet(UnetConfig { attention: vec![3], ..Default::default() }, [1, 28, 28]);
    assert!(message.contains("factor 3") && message.contains("[1, 2]"), "{message}");
    let message = unet(UnetConfig { attention: vec![1], heads: 5, ..Default::default() }, [1, 28, 28]);
    assert!(message.contains("heads is 5"), "{message}");
    let message = unet(UnetConfig { dropout: 1.0, ..Default::default() }, [1, 28, 28]);
    assert!(message.contains("[0, 1)"), "{message}");
    for config in
        [UnetConfig { channels: 0, ..Default::default() }, UnetConfig { multipliers: vec![], ..Default::default() }]
    {
        assert!(unet(config, [1, 28, 28]).contains("is 0"));
    }
    let dit = NetConfig::Dit(DitConfig { patch: 3, ..DitConfig::default() });
    assert!(dit.cost([1, 28, 28], 0).unwrap_err().to_string().contains("dit.patch = 3"));
    let mmdit = |text: &str, shape: [usize; 3]| {
        toml::from_str::<NetConfig>(&format!("type = \"mmdit\"\n{text}"))
            .unwrap()
            .cost(shape, 0)
            .unwrap_err()
            .to_string()
    };
    let tokens = "[condition]\ntokens = 384";
    assert!(mmdit("", [1, 28, 28]).contains("condition.tokens is 0"));
    assert!(mmdit(&format!("heads = 5\n{tokens}"), [1, 28, 28]).contains("mmdit.heads (5)"));
    assert!(mmdit(&format!("patch = 3\n{tokens}"), [1, 28, 28]).contains("mmdit.patch = 3"));
}

#[test]
fn configurations_read_from_toml_and_refuse_unknown_keys() {
    let text = "type = \"unet\"\nchannels = 32\nresampling = { type = \"residual\" }\n[condition]\nclass_std = 0.02\n";
    let config: NetConfig = toml::from_str(text).unwrap();
    let NetConfig::Unet(unet) = &config else { panic!("{config:?}") };
    assert_eq!((unet.channels, unet.resampling), (32, Resampling::Residual {}));
    assert_eq!(unet.condition.class_std, 0.02);
    assert_eq!(toml::from_str::<NetConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
    for bad in ["type = \"unet\"\nchanels = 3", "type = \"mlp\"\n[condition]\ntime = 1", "type = \"vit\"", "width = 3"]
    {
        assert!(toml::from_str::<NetConfig>(bad).is_err(), "{bad}");
    }
}
