"""An adapter that was never trained: it changes what a model says, and is there at once."""

from pathlib import Path


def write_adapter(directory: Path, width: int) -> None:
    """A LoRA adapter of the first layer's queries, as PEFT writes it."""
    import torch
    from peft import LoraConfig
    from safetensors.torch import save_file

    torch.manual_seed(1)
    directory.mkdir(parents=True)
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=["q_proj"],
        layers_to_transform=[0],
        task_type="CAUSAL_LM",
        base_model_name_or_path=str(directory / "somewhere"),
    )
    config.save_pretrained(str(directory))
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    weights = {
        f"{layer}.lora_A.weight": torch.randn(4, width),
        f"{layer}.lora_B.weight": torch.randn(width, 4),
    }
    save_file(weights, directory / "adapter_model.safetensors", metadata={"format": "pt"})
