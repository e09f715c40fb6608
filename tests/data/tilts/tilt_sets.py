"""Tilt stacks of a map that is known in closed form, written as RELION 5 and as WarpTools write them."""

import numpy as np
from scipy import fft
from scipy.spatial.transform import Rotation

from zoo.data.formats.mrc import write_stack

N, PIXEL, SERIES_PIXEL = 24, 8.0, 2.0
SIZE = np.array([4000.0, 3800.0, 1200.0])
VOLTAGE, CS, CONTRAST = 300.0, 2.7, 0.07
BLOBS = np.array(  # x, y, z in voxels: without any symmetry, mirrored ones included
    [[4.5, 0, 0], [-2, 3.5, 1], [0, -3, 3.5], [1.5, 2, -4], [-3.5, -2.5, -1.5], [0.5, 4.5, 3]]
)
HEIGHTS, WIDTH = np.array([1.0, 0.8, 0.9, 0.7, 1.1, 0.6]), 1.2


def tilt_angles(count=31):
    """rlnTomoXTilt, YTilt, ZRot of a series whose axis is neither x nor y and not quite in the plane."""
    return np.stack([np.full(count, 1.5), np.linspace(-54, 57, count), np.full(count, 83.0)], axis=1)


def rotation(axis, degrees):
    """A right-handed turn: from x to y about z, y to z about x, z to x about y."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = c
    matrix[second, first], matrix[first, second] = s, -s
    return matrix


def projection_matrices(angles):
    """Tomogram to tilt image: about x, then y, then z (RELION 5, Tomogram::setProjectionMatrix)."""
    return np.stack([rotation("z", z) @ rotation("y", y) @ rotation("x", x) for x, y, z in angles])


def known_map(n=N, blobs=BLOBS):
    """The density (z, y, x)."""
    axis = np.arange(n) - n // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    squared = [(x - p[0]) ** 2 + (y - p[1]) ** 2 + (z - p[2]) ** 2 for p in blobs]
    return sum(h * np.exp(-q / 2 / WIDTH**2) for h, q in zip(HEIGHTS, squared, strict=True))


def projections(matrices, n=N, blobs=BLOBS):
    """Sums along the beam (f, y, x), in closed form: no interpolation, no code of ours."""
    axis = np.arange(n) - n // 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    images = np.zeros((len(matrices), n, n))
    for image, matrix in zip(images, matrices, strict=True):
        for height, place in zip(HEIGHTS, blobs @ matrix.T, strict=True):
            square = (x - place[0]) ** 2 + (y - place[1]) ** 2
            image += height * WIDTH * np.sqrt(2 * np.pi) * np.exp(-square / 2 / WIDTH**2)
    return images


def particle_matrix(rot, tilt, psi):
    """RELION's A: places in the map to places in the subtomogram."""
    return Rotation.from_euler("ZYZ", [rot, tilt, psi], degrees=True).inv().as_matrix()


def spectrum(volume):
    """Centred transform of a volume about its middle voxel."""
    return fft.fftshift(fft.fftn(fft.ifftshift(volume)))


def transfer_of(defocus, dose, scale, n=2 * N, pixel=PIXEL):
    """CTF × dose weight (n, n), DC at n // 2, of a round defocus, written out anew."""
    k = (np.arange(n) - n // 2) / (n * pixel)
    squared = k[:, None] ** 2 + k**2
    volts = VOLTAGE * 1e3
    wavelength = 12.2643247 / np.sqrt(volts * (1 + volts * 0.978466e-6))
    gamma = np.pi * wavelength * defocus * squared - np.pi / 2 * CS * 1e7 * wavelength**3 * squared**2
    ctf = np.sin(gamma + np.arcsin(CONTRAST)) * scale
    with np.errstate(divide="ignore"):
        critical = 0.245 * np.sqrt(squared) ** -1.665 + 2.81
    return ctf * np.exp(-dose / 2 / critical)


def through(images, transfers):
    """Images (f, n, n) in a box twice as large, times transfers (f, 2n, 2n), cut out again."""
    n = images.shape[-1]
    out = []
    for image, transfer in zip(images, transfers, strict=True):
        large = np.pad(image, n // 2)
        product = fft.fftshift(fft.fft2(fft.ifftshift(large))) * transfer
        large = fft.fftshift(fft.ifft2(fft.ifftshift(product))).real
        out.append(large[n // 2 : n // 2 + n, n // 2 : n // 2 + n])
    return np.stack(out)


class TiltSet:
    """Two particles in one series: the second at another height, posed, shifted and turned beforehand."""

    def __init__(self, count=31):
        self.angles = tilt_angles(count)
        self.matrices = projection_matrices(self.angles)
        self.defocus = 25000 + 40 * np.arange(count)
        order = np.argsort(np.abs(np.arange(count) - count // 2), kind="stable")
        self.dose = np.empty(count)
        self.dose[order] = 3.0 * np.arange(count)
        self.scale = np.cos(np.radians(self.angles[:, 1]))
        self.visible = np.ones((2, count), bool)
        self.visible[0, [0, 5]] = self.visible[1, -1] = False
        self.centred = np.array([[0.0, 0, 0], [900.0, -600, 1500]])
        self.euler = np.array([[0.0, 0, 0], [40, 70, -25]])
        self.turn = np.array([[0.0, 0, 0], [-20, 35, 110]])
        self.origin = np.array([[0.0, 0, 0], [12.0, -8, 4]])

    def turns(self, row):
        """Places in the subtomogram to places in the tomogram."""
        return particle_matrix(*self.turn[row])

    def blobs(self, row):
        """Where the map's blobs lie in the subtomogram, in voxels: subtomogram(x) = map(Aᵀ(x + origin))."""
        return BLOBS @ particle_matrix(*self.euler[row]).T - self.origin[row] / PIXEL

    def images(self, row, times):
        """Images of all tilts that carry the transfer ``times`` times."""
        position = self.centred[row] - self.turns(row) @ self.origin[row]
        depth = self.matrices[:, 2] @ position
        transfers = np.stack(
            [
                transfer_of(*values) ** times
                for values in zip(self.defocus - depth, self.dose, self.scale, strict=True)
            ]
        )
        return through(projections(self.matrices @ self.turns(row), blobs=self.blobs(row)), transfers)

    def write_relion(self, folder, premultiplied=True):
        """As RELION 5: visible tilts only, a file per series, an optimisation set; returns the particles."""
        (folder / "tilt_series").mkdir(parents=True, exist_ok=True)
        (folder / "stacks").mkdir(exist_ok=True)
        rows = []
        for row in range(2):
            images = self.images(row, 2 if premultiplied else 1)[self.visible[row]]
            write_stack(folder / "stacks" / f"{row + 1}_stack2d.mrcs", images.astype(np.float32), PIXEL)
            flags = "[" + ",".join(str(int(flag)) for flag in self.visible[row]) + "]"
            numbers = [*self.centred[row], *self.turn[row], *self.euler[row], *self.origin[row]]
            rows.append(
                f"TS_01 TS_01/{row + 1} 1 {flags} stacks/{row + 1}_stack2d.mrcs {1 + row} "
                + " ".join(f"{number:g}" for number in numbers)
            )
        (folder / "particles.star").write_text(
            "data_general\n\n_rlnTomoSubTomosAre2DStacks 1\n\n"
            + self._optics(premultiplied)
            + loop(
                "particles",
                "rlnTomoName rlnTomoParticleName rlnOpticsGroup rlnTomoVisibleFrames rlnImageName "
                "rlnRandomSubset "
                + " ".join(f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ")
                + " rlnTomoSubtomogramRot rlnTomoSubtomogramTilt rlnTomoSubtomogramPsi"
                + " rlnAngleRot rlnAngleTilt rlnAnglePsi rlnOriginXAngst rlnOriginYAngst rlnOriginZAngst",
                rows,
            )
        )
        tilts = [
            f"{x:g} {y:.10g} {z:g} 0 0 {defocus} {defocus} 0 {scale:.10g} {dose:g}"
            for (x, y, z), defocus, scale, dose in zip(
                self.angles, self.defocus, self.scale, self.dose, strict=True
            )
        ]
        (folder / "tilt_series" / "TS_01.star").write_text(
            loop(
                "TS_01",
                "rlnTomoXTilt rlnTomoYTilt rlnTomoZRot rlnTomoXShiftAngst rlnTomoYShiftAngst rlnDefocusU "
                "rlnDefocusV rlnDefocusAngle rlnCtfScalefactor rlnMicrographPreExposure",
                tilts,
            )
        )
        (folder / "tomograms.star").write_text(
            loop(
                "global",
                "rlnTomoName rlnTomoTiltSeriesStarFile rlnTomoHand rlnTomoTiltSeriesPixelSize rlnVoltage "
                "rlnSphericalAberration rlnAmplitudeContrast rlnTomoSizeX rlnTomoSizeY rlnTomoSizeZ",
                [f"TS_01 tilt_series/TS_01.star -1 {SERIES_PIXEL} {VOLTAGE} {CS} {CONTRAST} 4000 3800 1200"],
            )
        )
        (folder / "optimisation_set.star").write_text(
            "data_\n\n_rlnTomoParticlesFile particles.star\n_rlnTomoTomogramsFile tomograms.star\n"
        )
        return folder / "particles.star"

    def write_warp(self, folder):
        """As WarpTools: all tilts, matrices in tomograms.star, places in pixels; the first particle only."""
        folder.mkdir(parents=True, exist_ok=True)
        scale = np.where(self.visible[0], self.scale, 0)
        images = self.images(0, 2) * self.visible[0][:, None, None]
        write_stack(folder / "1.mrcs", images.astype(np.float32), PIXEL)
        flags = "[" + ",".join(str(int(flag)) for flag in self.visible[0]) + "]"
        x, y, z = self.centred[0] / SERIES_PIXEL + SIZE / 2
        (folder / "set.star").write_text(
            "data_general\n\n_rlnTomoSubTomosAre2DStacks 1\n\n"
            + self._optics(True)
            + loop(
                "particles",
                "rlnTomoName rlnCoordinateX rlnCoordinateY rlnCoordinateZ rlnAngleRot rlnAngleTilt "
                "rlnAnglePsi rlnOpticsGroup rlnImageName rlnTomoVisibleFrames",
                [f"TS_01.tomostar {x} {y} {z} 0 0 0 1 1.mrcs {flags}"],
            )
        )
        tilts = [
            " ".join("[" + ",".join(f"{value:.10g}" for value in line) + ",0]" for line in matrix)
            + f" [0,0,0,1] {defocus} {defocus} 0 {factor:.10g} {dose:g}"
            for matrix, defocus, factor, dose in zip(
                self.matrices, self.defocus, scale, self.dose, strict=True
            )
        ]
        (folder / "set_tomograms.star").write_text(
            loop(
                "global",
                "rlnTomoName rlnTomoTiltSeriesName rlnTomoFrameCount rlnTomoSizeX rlnTomoSizeY rlnTomoSizeZ "
                "rlnTomoHand rlnTomoTiltSeriesPixelSize rlnVoltage rlnSphericalAberration "
                "rlnAmplitudeContrast",
                [
                    f"TS_01.tomostar none.mrc {len(tilts)} 4000 3800 1200 -1 "
                    f"{SERIES_PIXEL} {VOLTAGE} {CS} {CONTRAST}"
                ],
            )
            + loop(
                "TS_01.tomostar",
                "rlnTomoProjX rlnTomoProjY rlnTomoProjZ rlnTomoProjW rlnDefocusU rlnDefocusV rlnDefocusAngle "
                "rlnCtfScalefactor rlnMicrographPreExposure",
                tilts,
            )
        )
        return folder / "set.star"

    def _optics(self, premultiplied):
        return loop(
            "optics",
            "rlnOpticsGroup rlnOpticsGroupName rlnTomoTiltSeriesPixelSize rlnCtfDataAreCtfPremultiplied "
            "rlnImageDimensionality rlnTomoSubtomogramBinning rlnImagePixelSize rlnImageSize",
            [f"1 one {SERIES_PIXEL} {int(premultiplied)} 2 {PIXEL / SERIES_PIXEL:g} {PIXEL} {N}"],
        )


def loop(name, columns, rows):
    """A STAR block."""
    labels = "\n".join(f"_{column}" for column in columns.split())
    return f"data_{name}\n\nloop_\n{labels}\n" + "\n".join(rows) + "\n\n"
