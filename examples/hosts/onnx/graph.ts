/** Writes ONNX models (https://onnx.ai, IR version 8) node by node; fields are numbered as in its `onnx.proto`. */
import { PbfWriter } from "pbf";

/** Element types of tensors, as ONNX numbers them. */
export const ELEMENT_TYPES = { float32: 1, int32: 6, int64: 7, bool: 9, float16: 10 } as const;

/** An element type. */
export type ElementType = keyof typeof ELEMENT_TYPES;

/** Sizes of a tensor; one given by name may differ from run to run. */
export type Dims = readonly (number | string)[];

/** Whole numbers, or lists of them, by name. */
export type Attributes = Readonly<Record<string, number | readonly number[]>>;

/** Operators of ONNX opset 13, which the default domain means here. */
const OPSET = 13;

/** The domain of ONNX Runtime's own operators. */
const CONTRIBUTIONS = "com.microsoft";

interface GraphNode {
  readonly operator: string;
  readonly outputs: readonly string[];
  readonly inputs: readonly string[];
  readonly attributes: Attributes;
  readonly domain: string;
}

interface Initializer {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly data: ArrayBufferView<ArrayBuffer>;
}

interface Value {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: Dims;
}

/** AttributeProto.AttributeType. */
const INT = 2;
const INTS = 7;

/** A graph under construction. Values are named; what an operator gives is a name. */
export class Graph {
  readonly #nodes: GraphNode[] = [];
  readonly #initializers = new Map<string, Initializer>();
  readonly #inputs: Value[] = [];
  readonly #outputs: Value[] = [];

  /** An input. */
  input(name: string, type: ElementType, dims: Dims): string {
    this.#inputs.push({ name, type, dims });
    return name;
  }

  /** Makes a value an output. */
  output(name: string, type: ElementType, dims: Dims): void {
    this.#outputs.push({ name, type, dims });
  }

  /** A constant tensor of float32. */
  floats(name: string, dims: readonly number[], data: Float32Array<ArrayBuffer>): string {
    this.#initializers.set(name, { name, type: "float32", dims, data });
    return name;
  }

  /** A constant vector of int64, such as a shape or axes; equal ones are one. */
  indices(...values: number[]): string {
    const name = `indices_${values.join("_")}`;
    const data = BigInt64Array.from(values, BigInt);
    this.#initializers.set(name, { name, type: "int64", dims: [values.length], data });
    return name;
  }

  /**
   * An operator with one output.
   *
   * @param output The name of what it gives.
   */
  node(
    operator: string,
    output: string,
    inputs: readonly string[],
    attributes: Attributes = {},
  ): string {
    this.#nodes.push({ operator, outputs: [output], inputs, attributes, domain: "" });
    return output;
  }

  /**
   * An operator of ONNX Runtime's own (ContribOperators.md), of version 1.
   *
   * @param outputs The names of what it gives.
   */
  contribution(
    operator: string,
    outputs: readonly string[],
    inputs: readonly string[],
    attributes: Attributes,
  ): void {
    this.#nodes.push({ operator, outputs, inputs, attributes, domain: CONTRIBUTIONS });
  }

  /** The file. */
  encode(name: string): Uint8Array<ArrayBuffer> {
    const pbf = new PbfWriter();
    pbf.writeVarintField(1, 8); // ir_version
    pbf.writeMessage(7, (own, graph) => own.#write(name, graph), this as Graph);
    pbf.writeMessage(8, (version, opset) => opset.writeVarintField(2, version), OPSET);
    if (this.#nodes.some(({ domain }) => domain === CONTRIBUTIONS)) {
      pbf.writeMessage(8, writeContributions, CONTRIBUTIONS);
    }
    return Uint8Array.from(pbf.finish());
  }

  #write(name: string, graph: PbfWriter): void {
    for (const node of this.#nodes) graph.writeMessage(1, writeNode, node);
    graph.writeStringField(2, name);
    for (const tensor of this.#initializers.values()) graph.writeMessage(5, writeTensor, tensor);
    for (const value of this.#inputs) graph.writeMessage(11, writeValue, value);
    for (const value of this.#outputs) graph.writeMessage(12, writeValue, value);
  }
}

function writeContributions(domain: string, opset: PbfWriter): void {
  opset.writeStringField(1, domain);
  opset.writeVarintField(2, 1);
}

function writeNode(
  { operator, outputs, inputs, attributes, domain }: GraphNode,
  node: PbfWriter,
): void {
  for (const input of inputs) node.writeStringField(1, input);
  for (const output of outputs) node.writeStringField(2, output);
  node.writeStringField(3, outputs[0]!); // name
  node.writeStringField(4, operator);
  for (const attribute of Object.entries(attributes)) {
    node.writeMessage(5, writeAttribute, attribute);
  }
  if (domain !== "") node.writeStringField(7, domain);
}

function writeAttribute(
  [name, value]: [string, number | readonly number[]],
  attribute: PbfWriter,
): void {
  attribute.writeStringField(1, name);
  if (typeof value === "number") {
    attribute.writeVarintField(3, value);
  } else {
    for (const one of value) attribute.writeVarintField(8, one);
  }
  attribute.writeVarintField(20, typeof value === "number" ? INT : INTS);
}

function writeTensor({ name, type, dims, data }: Initializer, tensor: PbfWriter): void {
  for (const size of dims) tensor.writeVarintField(1, size);
  tensor.writeVarintField(2, ELEMENT_TYPES[type]);
  tensor.writeStringField(8, name);
  tensor.writeBytesField(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

function writeValue({ name, type, dims }: Value, value: PbfWriter): void {
  value.writeStringField(1, name);
  value.writeMessage(2, writeType, { type, dims });
}

function writeType(own: Pick<Value, "type" | "dims">, type: PbfWriter): void {
  type.writeMessage(1, writeTensorType, own);
}

function writeTensorType({ type, dims }: Pick<Value, "type" | "dims">, tensor: PbfWriter): void {
  tensor.writeVarintField(1, ELEMENT_TYPES[type]);
  tensor.writeMessage(2, writeShape, dims);
}

function writeShape(dims: Dims, shape: PbfWriter): void {
  for (const size of dims) shape.writeMessage(1, writeDimension, size);
}

function writeDimension(size: number | string, dimension: PbfWriter): void {
  if (typeof size === "number") dimension.writeVarintField(1, size);
  else dimension.writeStringField(2, size);
}
