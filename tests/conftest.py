import pytest
from hypothesis import settings

pytest.register_assert_rewrite("backends", "helpers", "cuda_host")

from backends import BACKENDS  # noqa: E402
from cuda_host.backend import CudaHost  # noqa: E402

BACKENDS["cuda-host"] = CudaHost()

settings.register_profile(
    "reproducible", derandomize=True, deadline=None, database=None, max_examples=60
)
settings.load_profile("reproducible")


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request):
    return BACKENDS[request.param]
