/** A file with weights of a model. */
export interface WeightFile {
  /** Its name in the folder. */
  readonly file: string;
  /** Tensors that an index says it holds; none where there is no index. */
  readonly tensors: readonly string[];
}
