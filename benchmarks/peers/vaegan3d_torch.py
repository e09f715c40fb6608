"""`vaegan3d` with a uniform camera, written as a PyTorch user would: peer of ``benchmarks/training.py``.

The same networks, losses and optimizers as `vaegan3d` for Gaussian noise, invariant networks
and no pose search. Needs PyTorch and NumPy only. Run by the benchmark:

    python vaegan3d_torch.py FOLDER THREADS

FOLDER holds ``settings.json``, ``weights.npz`` (Keras' own, one array per variable), ``batch.npz`` and
``draws.npz``. The program writes ``torch_check.npz`` (outputs, losses and gradient norms for those draws),
prints one JSON line of parameter counts, then answers each line "N" on stdin with (wall-clock seconds, CPU
seconds) of each of N steps.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class GaborBank(nn.Module):
    """``(b, 1, y, x)`` → ``(b, filters, y, x)``, cyclic, of trained Gabor filters."""

    def __init__(self, filters: int, kernel_size: int):
        super().__init__()
        for name in ("log_wavelength", "log_sigma", "log_aspect", "orientation", "phase"):
            setattr(self, name, nn.Parameter(torch.zeros(filters)))
        self.reach = (kernel_size - 1) // 2
        axis = torch.arange(kernel_size, dtype=torch.float32) - self.reach
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        self.register_buffer("y", y[None])
        self.register_buffer("x", x[None])

    def forward(self, images):
        column = (-1, 1, 1)
        sine, cosine = self.orientation.sin().view(column), self.orientation.cos().view(column)
        along, across = self.x * cosine + self.y * sine, -self.x * sine + self.y * cosine
        squeezed = across * self.log_aspect.exp().view(column)
        decay = (along**2 + squeezed**2) / (2.0 * (2.0 * self.log_sigma).exp().view(column))
        phase = 2.0 * math.pi * along * (-self.log_wavelength).exp().view(column) + self.phase.view(column)
        kernels = torch.cos(phase) * torch.exp(-decay)
        kernels = kernels / torch.sqrt((kernels**2).sum((1, 2), keepdim=True) + 1e-12)
        return F.conv2d(F.pad(images, (self.reach,) * 4, mode="circular"), kernels[:, None])


class PolyphaseDown(nn.Module):
    """Keeps the one of four polyphase components with the largest L2 norm (Chaman & Dokmanić 2021)."""

    def forward(self, x):
        components = torch.stack([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], dim=1)
        choice = components.detach().flatten(2).norm(dim=2).argmax(dim=1)
        return components[torch.arange(len(x), device=x.device), choice]


def trunk(settings, filters) -> nn.Sequential:
    layers: list[nn.Module] = [GaborBank(settings["gabor_filters"], settings["gabor_kernel"])]
    channels = settings["gabor_filters"]
    for count in filters:
        layers += [
            nn.Conv2d(channels, count, 3, padding=1, padding_mode="circular", bias=False),
            nn.BatchNorm2d(count, eps=1e-3, momentum=0.01),
            nn.LeakyReLU(0.2),
            PolyphaseDown(),
        ]
        channels = count
    return nn.Sequential(*layers)


class Critic(nn.Module):
    """Images ``(b, 1, n, n)`` → score ``(b,)`` and the feature map before pooling."""

    def __init__(self, settings):
        super().__init__()
        self.trunk = trunk(settings, settings["filters"])
        self.score = nn.Linear(settings["filters"][-1], 1)

    def forward(self, images):
        features = self.trunk(images)
        return self.score(features.mean((2, 3)))[:, 0], features


class Encoder(nn.Module):
    """Images ``(b, 1, n, n)`` → means and log-variances ``(b, d)``."""

    def __init__(self, settings):
        super().__init__()
        self.trunk = trunk(settings, settings["encoder_filters"])
        self.latent = nn.Linear(settings["encoder_filters"][-1], 2 * settings["latent_dim"])

    def forward(self, images):
        mean, log_variance = self.latent(self.trunk(images).mean((2, 3))).chunk(2, dim=1)
        return mean, 4.0 * torch.tanh(log_variance / 4.0)


class CoordinateGrid(nn.Module):
    """A trained grid of coordinates ``(3, z, y, x)``, read at points in index units."""

    def __init__(self, box: int):
        super().__init__()
        self.box = box
        self.grid = nn.Parameter(torch.zeros(3, box, box, box))

    def forward(self, points):
        # Index n is index 0 again.
        grid = F.pad(self.grid[None], (0, 1, 0, 1, 0, 1), mode="circular")
        where = (points * (2.0 / self.box))[None, :, :, None]
        found = F.grid_sample(grid, where, mode="bilinear", padding_mode="border", align_corners=True)
        return found[0, ..., 0].permute(1, 2, 0)


class Generator(nn.Module):
    """Points of Fourier space ``(b, m, 3)`` and z ``(b, d)`` → (re, im) ``(b, m)``: SIREN with FiLM."""

    omega = 30.0

    def __init__(self, settings):
        super().__init__()
        self.box, width = settings["box"], settings["siren_width"]
        self.first = nn.Linear(3, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(settings["siren_layers"]))
        self.last = nn.Linear(width, 2)
        self.mapping = nn.Linear(settings["latent_dim"], 64)
        self.film = nn.Linear(64, 2 * width)
        self.coordinates = CoordinateGrid(self.box)

    def forward(self, points, z):
        x, y, k = points.unbind(-1)
        upper = (k > 0) | ((k == 0) & ((y > 0) | ((y == 0) & (x >= 0))))
        half = torch.where(upper, 1.0, -1.0)
        hidden = torch.sin(self.omega * self.first(self.coordinates(points * half[..., None])))
        scale, shift = self.film(F.leaky_relu(self.mapping(z), 0.2)).chunk(2, dim=1)
        for i, layer in enumerate(self.hidden):
            hidden = layer(hidden)
            if i == 0:
                hidden = (1.0 + scale[:, None]) * hidden + shift[:, None] / self.omega
            hidden = torch.sin(self.omega * hidden)
        out = self.last(hidden) * self.box
        return out[..., 0], out[..., 1] * half


class NoiseGenerator(nn.Module):
    """z_n ``(b, d)`` → the noise's standard deviation ``(b, n, n)``."""

    def __init__(self, settings):
        super().__init__()
        base, doublings = settings["box"], 0
        while base % 2 == 0 and base > 8:
            base, doublings = base // 2, doublings + 1
        filters = settings["noise_filters"]
        self.base, self.filters = base, filters
        self.dense = nn.Linear(settings["noise_latent_dim"], base * base * filters)
        self.convolutions = nn.ModuleList(_cyclic_convolution(filters, filters) for _ in range(doublings))
        self.last = _cyclic_convolution(filters, 1)

    def forward(self, z):
        h = F.leaky_relu(self.dense(z), 0.2).view(-1, self.base, self.base, self.filters).permute(0, 3, 1, 2)
        for layer in self.convolutions:
            h = F.leaky_relu(layer(F.interpolate(h, scale_factor=2, mode="nearest")), 0.2)
        return F.softplus(self.last(h))[:, 0]


class VAEGAN3D(nn.Module):
    """Critic, encoder, generator and noise generator, their losses and their training step."""

    def __init__(self, settings):
        super().__init__()
        self.settings = settings
        self.critic, self.encoder = Critic(settings), Encoder(settings)
        self.generator, self.noise = Generator(settings), NoiseGenerator(settings)
        n = settings["box"]
        ky, kx = torch.meshgrid(torch.fft.fftfreq(n), torch.fft.rfftfreq(n), indexing="ij")
        self.register_buffer("plane", torch.stack([kx, ky], dim=-1).view(-1, 2) * n)
        self.register_buffer("kx", kx)
        self.register_buffer("ky", ky)
        self.register_buffer("mask", ((kx**2 + ky**2) <= (0.5 * (1.0 + 1e-6)) ** 2).float())

    def start(self) -> None:
        """Optimizers, schedules and the averaged generator, from the weights as they are now."""
        s = self.settings
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.optimizers = {
            player: torch.optim.Adam(parameters, s["learning_rate"], (s["beta_1"], s["beta_2"]), eps=1e-7)
            for player, parameters in self.players().items()
        }
        self.schedules = [
            torch.optim.lr_scheduler.StepLR(optimizer, s["decay_steps"], s["decay_rate"])
            for optimizer in self.optimizers.values()
        ]

    def players(self) -> dict[str, list[nn.Parameter]]:
        return {
            "critic": list(self.critic.parameters()),
            "encoder": list(self.encoder.parameters()),
            "generator": [*self.generator.parameters(), *self.noise.parameters()],
        }

    def train_step(self, batch) -> dict[str, torch.Tensor]:
        draws = self.draw(len(batch["image"]))
        losses = {}
        for player, optimizer in self.optimizers.items():
            optimizer.zero_grad()
            losses[player] = self.loss(player, batch, draws)
            losses[player].backward(inputs=optimizer.param_groups[0]["params"])
            optimizer.step()
        for schedule in self.schedules:
            schedule.step()
        with torch.no_grad():
            for average, value in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                average.lerp_(value, 1.0 - self.settings["average_decay"])
        return losses

    def draw(self, count: int) -> dict[str, torch.Tensor]:
        s = self.settings
        n = s["box"]
        draws = {"z": torch.randn(count, s["latent_dim"]), "epsilon": torch.randn(count, s["latent_dim"])}
        for kind in ("fake", "rec"):
            draws[f"camera_{kind}"] = torch.randn(count, s["camera_latent_dim"])
            draws[f"z_noise_{kind}"] = torch.randn(count, s["noise_latent_dim"])
            draws[f"noise_{kind}"] = torch.randn(count, n, n)
            draws[f"mix_{kind}"] = torch.rand(count, 1)
        return draws

    def loss(self, player: str, batch, draws):
        return getattr(self, f"{player}_loss")(batch, draws)

    def critic_loss(self, batch, draws):
        real = batch["image"]
        with torch.no_grad():
            fake = self.fakes(batch, draws)[0]
            rec = self.reconstructions(batch, draws, *self.encoder(real))
        scores = [self.critic(images)[0].mean() for images in (real, fake, rec)]
        penalty = self.penalty(real, fake, draws["mix_fake"]) + self.penalty(real, rec, draws["mix_rec"])
        distance = scores[0] - 0.5 * (scores[1] + scores[2])
        return -2.0 * distance + self.settings["gradient_penalty"] * penalty

    def penalty(self, real, fake, mix):
        mix = mix.view(-1, 1, 1, 1)
        between = (mix * real + (1.0 - mix) * fake).requires_grad_()
        (gradient,) = torch.autograd.grad(self.critic(between)[0].sum(), between, create_graph=True)
        norm = torch.sqrt(gradient.flatten(1).square().sum(1) + 1e-12)
        return (norm - 1.0).square().mean()

    def encoder_loss(self, batch, draws):
        mean, log_variance = self.encoder(batch["image"])
        kl = 0.5 * (log_variance.exp() + mean**2 - 1.0 - log_variance).sum(1).mean()
        rec = self.reconstructions(batch, draws, mean, log_variance)
        with torch.no_grad():
            real_features = self.critic(batch["image"])[1]
        gap = torch.sqrt((real_features - self.critic(rec)[1]).square().sum((1, 2, 3)) + 1e-12)
        return self.settings["kl_weight"] * kl + self.settings["perceptual_weight"] * gap.mean()

    def generator_loss(self, batch, draws):
        fake, sigma = self.fakes(batch, draws)
        with torch.no_grad():
            mean, log_variance = self.encoder(batch["image"])
        rec = self.reconstructions(batch, draws, mean, log_variance)
        adversarial = -self.critic(fake)[0].mean() - self.critic(rec)[0].mean()
        z = draws["z_noise_fake"]
        top = torch.sqrt((sigma[0::2] - sigma[1::2]).square().sum((1, 2)) + 1e-12)
        bottom = torch.sqrt((z[0::2] - z[1::2]).square().sum(1) + 1e-6)
        return (
            self.settings["adversarial_weight"] * adversarial
            - self.settings["diversity_weight"] * (top / bottom).mean()
        )

    def fakes(self, batch, draws):
        ctf = self.ctf(batch["ctf_random"], batch["pixel_size_angstrom"])
        clean = self.clean_images(draws["z"], rotations(draws["camera_fake"]), ctf)
        sigma = self.noise(draws["z_noise_fake"])
        return (clean + sigma * draws["noise_fake"])[:, None], sigma

    def reconstructions(self, batch, draws, mean, log_variance):
        z = mean + torch.exp(0.5 * log_variance) * draws["epsilon"]
        ctf = self.ctf(batch["ctf"], batch["pixel_size_angstrom"])
        clean = self.clean_images(z, rotations(draws["camera_rec"]), ctf)
        return (clean + self.noise(draws["z_noise_rec"]) * draws["noise_rec"])[:, None]

    def clean_images(self, z, rotation, ctf):
        """Half of a central slice, times CTF, transformed back: ``(b, n, n)``."""
        n = self.settings["box"]
        re, im = self.generator(self.plane @ rotation[:, :2], z)
        transform = torch.complex(re, im).view(-1, n, n // 2 + 1) * (ctf * self.mask)
        return torch.fft.fftshift(torch.fft.irfft2(transform, s=(n, n), norm="ortho"), dim=(1, 2))

    def ctf(self, parameters, pixel_size):
        """RELION's contrast transfer function on the half plane, ``(b, n, n//2 + 1)``."""
        u, v, angle, voltage, cs, contrast, phase, bfactor, scale = parameters[:, :, None, None].unbind(1)
        kx, ky = self.kx / pixel_size[:, None, None], self.ky / pixel_size[:, None, None]
        s2 = kx**2 + ky**2
        azimuth = torch.atan2(ky, kx) - torch.deg2rad(angle)
        defocus = 0.5 * (u + v) + 0.5 * (u - v) * torch.cos(2.0 * azimuth)
        volts = 1e3 * voltage
        wavelength = 12.2643247 / torch.sqrt(volts * (1.0 + 0.978466e-6 * volts))
        gamma = -math.pi * wavelength * defocus * s2 + 0.5 * math.pi * cs * 1e7 * wavelength**3 * s2**2
        gamma = gamma - torch.deg2rad(phase) - torch.asin(contrast)
        return -torch.sin(gamma) * torch.exp(-0.25 * bfactor * s2) * scale


def rotations(camera):
    """Normal numbers ``(b, 6 or more)`` → rotations ``(b, 3, 3)`` by Gram–Schmidt (Zhou et al. 2019)."""
    first = F.normalize(camera[:, :3], dim=1)
    second = camera[:, 3:6]
    second = F.normalize(second - (first * second).sum(1, keepdim=True) * first, dim=1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=1)


def _cyclic_convolution(channels: int, filters: int) -> nn.Conv2d:
    return nn.Conv2d(channels, filters, 3, padding=1, padding_mode="circular")


def load_keras_weights(model: VAEGAN3D, arrays: dict[str, np.ndarray]) -> None:
    """Fill each network from Keras' variables ``network/index``, kernels turned to PyTorch's order."""
    orders = {2: (1, 0), 4: (3, 2, 0, 1)}
    for name in ("critic", "encoder", "generator", "noise"):
        parameters = list(getattr(model, name).named_parameters())
        given = [arrays[f"{name}/{i:03d}"] for i in range(sum(key.startswith(name + "/") for key in arrays))]
        for (path, parameter), array in zip(parameters, given, strict=True):
            order = (3, 0, 1, 2) if path.endswith("grid") else orders.get(array.ndim, (0,))
            values = torch.from_numpy(np.ascontiguousarray(array.transpose(order)))
            if values.shape != parameter.shape:
                found, expected = tuple(values.shape), tuple(parameter.shape)
                raise SystemExit(f"{name}.{path}: {found} given, {expected} expected")
            parameter.data.copy_(values)


def check(model: VAEGAN3D, batch, draws) -> dict[str, np.ndarray]:
    """What the benchmark compares: outputs, losses and gradient norms before the first step."""
    with torch.no_grad():
        mean, log_variance = model.encoder(batch["image"])
        ctf = model.ctf(batch["ctf"], batch["pixel_size_angstrom"])
        found = {
            "score": model.critic(batch["image"])[0],
            "encoding": torch.cat([mean, log_variance], dim=1),
            "clean": model.clean_images(draws["z"], rotations(draws["camera_fake"]), ctf),
            "sigma": model.noise(draws["z_noise_fake"]),
        }
    for player, parameters in model.players().items():
        loss = model.loss(player, batch, draws)
        gradients = torch.autograd.grad(loss, parameters)
        found[f"{player}_loss"] = loss.detach()
        found[f"{player}_gradient_norm"] = torch.sqrt(sum(g.square().sum() for g in gradients))
    return {name: value.numpy() for name, value in found.items()}


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(int(sys.argv[2]))
    torch.manual_seed(0)
    model = VAEGAN3D(json.loads((folder / "settings.json").read_text())).train()
    load_keras_weights(model, dict(np.load(folder / "weights.npz")))
    batch = {name: torch.from_numpy(value) for name, value in np.load(folder / "batch.npz").items()}
    batch["image"] = batch["image"].permute(0, 3, 1, 2).contiguous()
    draws = {name: torch.from_numpy(value) for name, value in np.load(folder / "draws.npz").items()}
    np.savez(folder / "torch_check.npz", **check(model, batch, draws))
    names = ("critic", "encoder", "generator", "noise")
    counts = {name: sum(p.numel() for p in getattr(model, name).parameters()) for name in names}
    model.start()
    print(json.dumps({"parameters": counts, "version": torch.__version__}), flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            started, cpu = time.perf_counter(), time.process_time()
            losses = {name: float(value.detach()) for name, value in model.train_step(batch).items()}
            seconds.append((time.perf_counter() - started, time.process_time() - cpu))
            if not all(map(math.isfinite, losses.values())):
                raise SystemExit(f"losses are no longer finite: {losses}")
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
