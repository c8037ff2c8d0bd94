"""What local and convolutional layers do besides products: derivative of the activation, bias gradients.

Arrays are rectangles (H, W, F, B): rows and columns of the output, filters, minibatch. dy and dz are the
derivatives of the loss by the activations y and by the sums z before them.
"""

import numpy as np

from kernels.deferred import prange
from kernels.jit import helper, parallel_kernel
from kernels.layers.activations import differentiate_row
from kernels.layers.windows import check_rectangle
from kernels.llvm.views import block

_Array = np.ndarray


@helper
def _row_sum(x_FB: _Array, f: int) -> float:
    total = x_FB.dtype.type(0)
    for b in range(x_FB.shape[1]):
        total += x_FB[f, b]
    return total


@parallel_kernel
def spatial_activation_backward(dy: _Array, y: _Array, code: int) -> None:
    """Overwrite dy with dz = dy f'(z).

    Local.

    Parameters
    ----------
    dy : float array (H, W, F, B), a rectangle
        In: derivative of the loss by y. Out: by z.
    y : float array (H, W, F, B), a rectangle
        Activations of the forward pass.
    code : int
        Activation f, one of `kernels.layers.activations.CODES`.

    Raises
    ------
    ValueError
        When an array is not a rectangle cut from a C-ordered one.

    Notes
    -----
    f' by y, as in `kernels.layers.dense.activation_backward`.
    """
    check_rectangle(dy)
    check_rectangle(y)
    for at in prange(y.shape[0] * y.shape[1]):
        i, j = at // y.shape[1], at % y.shape[1]
        for f in range(y.shape[2]):
            differentiate_row(block(dy, i, j), block(y, i, j), f, code)


@parallel_kernel
def local_bias_sums(dz: _Array, db_HWF: _Array) -> None:
    """Overwrite db with the sums of dz over the minibatch: the gradient of a bias per location.

    Local.

    Parameters
    ----------
    dz : float array (H, W, F, B), a rectangle
        Derivatives of the loss.
    db_HWF : float array (H, W, F)
        Out.
    """
    check_rectangle(dz)
    for at in prange(dz.shape[0] * dz.shape[1]):
        i, j = at // dz.shape[1], at % dz.shape[1]
        for f in range(dz.shape[2]):
            db_HWF[i, j, f] = _row_sum(block(dz, i, j), f)


@parallel_kernel
def shared_bias_sums(dz: _Array, db_F: _Array) -> None:
    """Overwrite db with the sums of dz over locations and minibatch: the gradient of a bias per filter.

    Local.

    Parameters
    ----------
    dz : float array (H, W, F, B), a rectangle
        Derivatives of the loss.
    db_F : float array (F,)
        Out.
    """
    check_rectangle(dz)
    for f in prange(dz.shape[2]):
        total = 0.0  # of many terms: in float64
        for i in range(dz.shape[0]):
            for j in range(dz.shape[1]):
                total += np.float64(_row_sum(block(dz, i, j), f))
        db_F[f] = total
