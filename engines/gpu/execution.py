"""An opened plan of either flavour of TensorRT: contexts that run it in memory which the runner owns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from engines.errors import DeviceMemoryError, PlanError
from engines.gpu.flavour import Flavour
from engines.manifest import ModelFile
from engines.runners.base import RunnerKind

if TYPE_CHECKING:
    import tensorrt as trt


class Context(Protocol):
    """One place where a plan runs, for batches of one size."""

    def prepare(self, batch: int) -> int:
        """Set the batch and return how many bytes of working memory it takes."""

    def bind(self, slices: int, logits: int, working: int, working_bytes: int) -> None:
        """Set the device addresses of input, output and working memory."""

    def enqueue(self, stream: int) -> None:
        """Queue one run."""


class Engine(Protocol):
    """An opened plan."""

    @property
    def max_batch(self) -> int:
        """Most slices of a run, by the plan's profile."""

    def create_context(self) -> Context:
        """Return a new context, whose working memory its owner gives."""


class TensorRtEngine:
    """A plan in TensorRT. Only to be made where ``engines.gpu.driver`` found a GPU.

    Args:
        flavour: which TensorRT.
        plan: as compiled; whole.
        model: names of input and output.
        input_shape: (channels, rows, columns) of one slice.
        host_code: whether the plan may carry code for the CPU: one for later versions brings a lean runtime.
        kernels: what ``kernels`` gave at an earlier start, or nothing.

    Raises:
        PlanError: if the plan was made for another version or device.
        DeviceMemoryError: if the GPU has no room for it.
        DeviceError: if TensorRT cannot begin on it.
    """

    def __init__(
        self,
        flavour: Flavour,
        plan: bytes,
        model: ModelFile,
        input_shape: tuple[int, int, int],
        *,
        host_code: bool,
        kernels: bytes = b"",
    ) -> None:
        self._flavour, self._model, self._shape = flavour, model, input_shape
        self._earlier_kernels = kernels
        self._compiled: Any = None
        self._runtime = flavour.begin(flavour.trt.Runtime)
        self._runtime.engine_host_code_allowed = host_code
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            if flavour.is_out_of_memory:
                raise DeviceMemoryError(f"{flavour.kind} cannot open the plan: {flavour.complaint}")
            raise PlanError(model.file, f"{flavour.kind} cannot open the plan: {flavour.complaint}")
        self._engine = engine

    @property
    def max_batch(self) -> int:
        """Most slices of a run, by the plan's profile."""
        _smallest, _usual, largest = self._engine.get_tensor_profile_shape(self._model.input, 0)
        return int(largest[0])

    def create_context(self) -> TensorRtContext:
        """Return a new context.

        Raises: DeviceError: if TensorRT made none.
        """
        self._flavour.complaints.forget()
        config = self._engine.create_runtime_config()
        strategy = self._flavour.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        config.set_execution_context_allocation_strategy(strategy)
        if self._flavour.kind is RunnerKind.TENSORRT_RTX:
            self._compile_at_once(config)
        context = self._engine.create_execution_context(config)
        if context is None:
            raise self._flavour.failure("TensorRT made no execution context")
        return TensorRtContext(self._flavour, context, self._model, self._shape)

    @property
    def kernels(self) -> bytes:
        """What TensorRT for RTX compiled for this GPU, with which the next start is faster; else nothing."""
        compiled = None if self._compiled is None else self._compiled.serialize()
        return b"" if compiled is None else bytes(compiled)

    def _compile_at_once(self, config: trt.IRuntimeConfig) -> None:
        """Have TensorRT for RTX compile its kernels before the first run, or take those of an earlier start.

        Left to itself it runs general kernels until special ones are ready in the background, so that the
        kernels that were proven would not be those that serve. It refuses kernels of another GPU, driver or
        version by itself, and compiles them anew.
        """
        # Only this flavour has these names; both sides of the type check see them as untyped.
        settable: Any = config
        strategies: Any = getattr(self._flavour.trt, "DynamicShapesKernelSpecializationStrategy")  # noqa: B009
        settable.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        if self._compiled is None:
            self._compiled = settable.create_runtime_cache()
            if self._earlier_kernels and not self._compiled.deserialize(self._earlier_kernels):
                self._flavour.complaints.forget()
        settable.set_runtime_cache(self._compiled)


class TensorRtContext:
    """An execution context of TensorRT."""

    def __init__(
        self,
        flavour: Flavour,
        context: trt.IExecutionContext,
        model: ModelFile,
        input_shape: tuple[int, int, int],
    ) -> None:
        self._flavour, self._context, self._model, self._shape = flavour, context, model, input_shape

    def prepare(self, batch: int) -> int:
        """Set the batch and return how many bytes of working memory it takes."""
        if not self._context.set_input_shape(self._model.input, (batch, *self._shape)):
            raise self._flavour.failure(f"The plan takes no batch of {batch}")
        return int(self._context.update_device_memory_size_for_shapes())

    def bind(self, slices: int, logits: int, working: int, working_bytes: int) -> None:
        """Set the device addresses of input, output and working memory."""
        self._context.set_device_memory(working, working_bytes)
        for name, address in ((self._model.input, slices), (self._model.output, logits)):
            if not self._context.set_tensor_address(name, address):
                raise self._flavour.failure(f"The plan has no tensor {name}")

    def enqueue(self, stream: int) -> None:
        """Queue one run."""
        self._flavour.complaints.forget()
        if not self._context.execute_async_v3(stream):
            raise self._flavour.failure("TensorRT could not run the plan")
