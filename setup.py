"""Packaging: name, version, dependencies and the extras that add to them."""

from pathlib import Path

from setuptools import find_packages, setup

CAFFE = ["protobuf>=5,<8"]
MAT = ["scipy>=1.11,<2"]  # reads the .mat files of SBD, PASCAL-Context, NYUDv2 and SIFT Flow
ONNX = ["onnx>=1.16,<2", "onnxruntime>=1.19,<2"]  # 1.19 is the first that goes with NumPy 2
VIDEO = ["av>=14.2,<19"]  # FFmpeg's libraries; 19 will change how it counts time
TEST = [
    "pytest>=8",
    "pytest-xdist>=3.5",
    "hypothesis>=6.100",
    "torch==2.13.0",
    "torchvision==0.28.0",
    "ruff>=0.8",
    "nbformat>=5.10",
    "nbclient>=0.10",
    "ipykernel>=6.29",
    "playwright>=1.45,<2",  # drives a Chromium, where there is one
    *CAFFE,
    *MAT,
    *ONNX,
    *VIDEO,
]

setup(
    name="scratchfcn",
    version="0.1.0",
    description="Fully convolutional networks from scratch in NumPy/CuPy: read them, check them, train them.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["scratchfcn", "scratchfcn.*"]),
    package_data={
        "scratchfcn.cuda": ["*.cu"],
        "scratchfcn.learn": ["exercises/*/*"],
        "scratchfcn.explain": ["templates/*"],
        "scratchfcn.inspection": ["templates/*"],
        "scratchfcn.reports": ["templates/*"],
        "scratchfcn.data.sets": ["splits/*"],
    },
    python_requires=">=3.11",
    install_requires=[
        "numpy>=2.0,<3",
        "threadpoolctl>=3.1,<4",
        "pillow>=10.3,<14",
        "safetensors>=0.4.3,<1",
        "rich>=13.7,<16",
        "typer>=0.12,<1",
        "matplotlib>=3.8,<4",
        "jinja2>=3.1,<4",
    ],
    extras_require={
        "gpu": ["cupy-cuda12x[ctk]>=13,<15"],
        "gpu-cuda13": ["cupy-cuda13x[ctk]>=13.6,<15"],
        "torch": ["torch>=2.2"],
        "caffe": CAFFE,
        "mat": MAT,
        "onnx": ONNX,
        "video": VIDEO,
        "test": TEST,
    },
    entry_points={"console_scripts": ["scratchfcn=scratchfcn.cli:main"]},
)
