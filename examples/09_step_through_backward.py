"""Into backward with a debugger: from loss.backward() to the gradient's NumPy line (paper, section 3).

The graph is walked by `Tensor.backward`, which calls `backward` of one op after the other; nothing else lies between
`loss.backward()` and the lines that compute. So an op's backward is two frames away from your own line: the walk, and
itself. Below is such a session, to be typed along with. (A test types it as well, and compares. Line numbers, the front
of paths and pdb's own two frames are left out.)

What to look for: gy is r, which weighs the outputs, since all of them are positive and ReLU lets them through. gw is
the first column of `self.cols`, which is the first window of x, and ten times the last one. gx is the kernel stamped
onto the picture, once and ten times; the stamps overlap in the middle, where 3 and 10 are added. One frame up stands
the walk, with no op left to visit, and x has no gradient yet: the walk puts it there when backward has returned.

$ python -m pdb examples/09_step_through_backward.py
> 09_step_through_backward.py(…)<module>()
(Pdb) import scratchfcn as sf
(Pdb) break sf.ops.Conv2d.backward
Breakpoint 1 at scratchfcn/ops/conv.py:…
(Pdb) continue
> scratchfcn/ops/conv.py(…)backward()
-> N, C, H, W = self.x_shape
(Pdb) where
  09_step_through_backward.py(…)<module>()
-> loss.backward()
  scratchfcn/tensor.py(…)backward()
-> gxs = function.backward(gy) if gy is not None else (None,) * len(function.edges)
> scratchfcn/ops/conv.py(…)backward()
-> N, C, H, W = self.x_shape
(Pdb) p gy
array([[[[ 1.,  0.],
         [ 0., 10.]]]])
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> OC, CG, KH, KW = self.w.shape
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> G = self.groups
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> gb = channel_sums(gy) if self.biased and self.needs_grad(2) else None
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> if self.stripes is not None:
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> gy = channel_rows(gy).reshape(G, OC // G, -1)  # (G, OC/G, N*OH*OW)
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> gw = gx = None
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> if self.needs_grad(1):
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> gw = matmul(self.cols, gy.swapaxes(1, 2))  # (G, CG*KH*KW, OC/G)
(Pdb) p self.cols
array([[[0., 1., 3., 4.],
        [1., 2., 4., 5.],
        [3., 4., 6., 7.],
        [4., 5., 7., 8.]]])
(Pdb) p gy
array([[[ 1.,  0.,  0., 10.]]])
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> gw = gw.swapaxes(1, 2).reshape(OC, CG, KH, KW)
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> if self.needs_grad(0):  # not in the first layer: nobody asks for the photograph's gradient
(Pdb) p gw
array([[[[40., 51.],
         [73., 84.]]]])
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> w_rows = self.w.reshape(G, OC // G, CG * KH * KW)
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> gcols = matmul(w_rows.swapaxes(1, 2), gy)  # (G, CG*KH*KW, N*OH*OW)
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> gcols = gcols.reshape(C * KH * KW, -1)  # (C*KH*KW, N*OH*OW)
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> gx = col2im(gcols, self.x_shape, (KH, KW), self.stride, self.padding, self.dilation, self.output)
(Pdb) p gcols
array([[  1.,   0.,   0.,  10.],
       [ -1.,   0.,   0., -10.],
       [  2.,   0.,   0.,  20.],
       [  3.,   0.,   0.,  30.]])
(Pdb) next
> scratchfcn/ops/conv.py(…)backward()
-> return gx, gw, gb
(Pdb) p gx
array([[[[  1.,  -1.,   0.],
         [  2.,  13., -10.],
         [  0.,  20.,  30.]]]])
(Pdb) up
> scratchfcn/tensor.py(…)backward()
-> gxs = function.backward(gy) if gy is not None else (None,) * len(function.edges)
(Pdb) p function, len(order)
(<Conv2d>, 0)
(Pdb) up
> 09_step_through_backward.py(…)<module>()
-> loss.backward()
(Pdb) p x.grad
None
(Pdb) quit

Without a debugger the script prints the numbers that the session ends with. Takes a second.

Next: break at `sf.ops.MaxPool2d.backward` or `sf.ops.SoftmaxCrossEntropy.backward` in 07_train_on_shapes.py, then
exercise 03 of `scratchfcn learn`. To read: `Tensor.backward` in scratchfcn/tensor.py, all of it; it is forty lines.
"""

# %%
import numpy as np

import scratchfcn as sf

# %% One picture of one channel, one kernel of 2x2, and numbers small enough to follow.
x = sf.Tensor(np.arange(9.0).reshape(1, 1, 3, 3), requires_grad=True)  # (N, C, H, W)
w = sf.Tensor(np.array([[[[1.0, -1.0], [2.0, 3.0]]]]), requires_grad=True)  # (OC, C, KH, KW)
r = np.array([[[[1.0, 0.0], [0.0, 10.0]]]])  # (N, OC, OH, OW): what each output counts for in the loss

# %% Forward builds the graph, backward walks it from the loss to the leaves.
y = sf.ops.relu(sf.ops.conv2d(x, w))
loss = (y * r).sum()
loss.backward()

# %% What came out.
print(f"x\n{x.data[0, 0]}\nw\n{w.data[0, 0]}\ny\n{y.data[0, 0]}\nloss {loss:g}")
print(f"gradient by w\n{w.grad[0, 0]}\ngradient by x\n{x.grad[0, 0]}")
