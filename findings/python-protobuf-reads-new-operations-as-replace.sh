#!/bin/sh
# Tool: protobuf 6.33.2 (PyPI), with both of its implementations, and the compiler of grpcio-tools 1.80.1. The messages are the part of
# update_metadata.proto that matters here, as it was and with an operation that came later.
#
# Behaviour: a manifest says REPLACE_ZSTD (14). A reader whose update_metadata_pb2 was made before that operation parses it without error;
# `operation.type` is then 0, REPLACE, the first of the list. `type` is `required` and counts as absent, and yet ParseFromString doesn't raise:
# only HasField, IsInitialized or serialising anew tells. The number 14 appears nowhere but among the unknown fields.
# One would guess: an unknown operation is an error, or at least 14, as the enumerations of proto3 are; and a message without a required field
# isn't parsed.
# Matters because REPLACE means "copy the bytes as they are": a dumper or an applier in Python that branches on `type` writes compressed data, or
# a patch, into the image and ends with status 0. Whoever reads manifests asks HasField('type') of each operation, and checks the image's hash.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
pip install --quiet --disable-pip-version-check --root-user-action=ignore --target site protobuf==6.33.2 grpcio-tools==1.80.1 2>/dev/null
export PYTHONPATH=site
messages() {
  cat >"$1.proto" <<PROTO
syntax = "proto2";
package $1;
message InstallOperation {
  enum Type { REPLACE = 0; REPLACE_BZ = 1; SOURCE_COPY = 4; SOURCE_BSDIFF = 5; ZERO = 6; REPLACE_XZ = 8; $2 }
  required Type type = 1;
  optional uint64 data_offset = 2;
  optional uint64 data_length = 3;
}
message PartitionUpdate { required string partition_name = 1; repeated InstallOperation operations = 8; }
PROTO
  python3 -m grpc_tools.protoc -I. --python_out=. "$1.proto"
}
messages before ''
messages after 'REPLACE_ZSTD = 14;'
cat >read.py <<'PYTHON'
from google.protobuf import __version__
from google.protobuf.internal import api_implementation
import after_pb2, before_pb2
written = after_pb2.PartitionUpdate(partition_name='usr')
written.operations.add(type=after_pb2.InstallOperation.REPLACE_ZSTD, data_offset=0, data_length=9)
serialized = written.SerializeToString()
read = before_pb2.PartitionUpdate()
length = read.ParseFromString(serialized)
operation = read.operations[0]
name = before_pb2.InstallOperation.Type.Name(operation.type)
try:
    read.SerializeToString()
    again = 'serialises'
except Exception as error:
    again = type(error).__name__
print(f'protobuf {__version__} ({api_implementation.Type()}): parsed {length} of {len(serialized)} bytes, type {operation.type} ({name}), '
      f"HasField {operation.HasField('type')}, IsInitialized {read.IsInitialized()}, serialised anew: {again}")
assert (length, operation.type, operation.HasField('type'), read.IsInitialized(), again) == (len(serialized), 0, False, False, 'EncodeError')
PYTHON
python3 read.py
PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python python3 read.py
