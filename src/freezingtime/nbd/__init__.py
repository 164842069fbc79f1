# SPDX-License-Identifier: GPL-2.0-or-later
"""The NBD protocol, server side, as functions from bytes to bytes: no sockets, no loops.

A connection begins with a :class:`~freezingtime.nbd.handshake.ServerHandshake`, in which the
client picks an :class:`~freezingtime.nbd.export.Export`. From then on, a
:class:`~freezingtime.nbd.transmission.RequestDecoder` turns what arrives into requests.

Source of all names and rules: "The NBD protocol", doc/proto.md of NetworkBlockDevice/nbd.
"""
