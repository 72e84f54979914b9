/** The entries of a model's `config.json`, which remember which of them were read. */
import { type Kind, kind } from "../../base/check_options.ts";
import { describeValue } from "../../base/describe_value.ts";
import { CoupletError } from "../../base/errors.ts";

/** A JSON object of unknown content. */
export type Json = Readonly<Record<string, unknown>>;

/** What an object may be. */
const OBJECT: Kind<Json> = kind("an object", isObject);

/** What entries are read with. */
export interface EntryOptions {
  /** The object's place in the file, in front of its entries' names. */
  readonly path?: string;
  /** Values of absent entries. */
  readonly defaults?: Json;
  /** Names that a family has for entries of other names. */
  readonly names?: Readonly<Record<string, string>>;
}

/**
 * The entries of a JSON object. Null means "none"; an absent entry takes its default. What nobody
 * read is in {@linkcode unread}, so that nothing is passed over unseen.
 */
export class Entries {
  /** The object. */
  readonly json: Json;
  readonly #options: EntryOptions;
  readonly #read = new Set<string>();
  readonly #nested: Entries[] = [];

  constructor(json: Json, options: EntryOptions = {}) {
    this.json = json;
    this.#options = options;
  }

  /** Whether the file has an entry of this usual name, be it null. */
  has(entry: string): boolean {
    return Object.hasOwn(this.json, this.#written(entry));
  }

  /** The name and place in the file of an entry of this usual name. */
  name(entry: string): string {
    return this.place(this.#written(entry));
  }

  /** The place in the file of an entry of this very name. */
  place(entry: string): string {
    return (this.#options.path ?? "") + entry;
  }

  /**
   * An entry's value, or undefined where there is none.
   *
   * @throws {CoupletError} `file` where it is not of this kind.
   */
  get<T>(entry: string, [wanted, accepts]: Kind<T>): T | undefined {
    const value = this.#value(entry);
    if (value == null) return undefined;
    if (!accepts(value)) {
      throw new CoupletError("file", {
        what: "Cannot plan for this model",
        why: `${this.name(entry)} is ${describeValue(value)}`,
        remedy: `It must be ${wanted}. Check that the file is whole, and of the model itself`,
      });
    }
    return value;
  }

  /**
   * The entries of an object, or undefined where there is none.
   *
   * @throws {CoupletError} `file` where it is no object.
   */
  object(entry: string): Entries | undefined {
    const value = this.get(entry, OBJECT);
    if (value === undefined) return undefined;
    const nested = new Entries(value, { path: `${this.name(entry)}.` });
    this.#nested.push(nested);
    return nested;
  }

  /** Names of all entries that are not null. */
  get names(): readonly string[] {
    return Object.keys(this.json).filter((name) => this.json[name] != null);
  }

  /** Names of entries that are not null, and that nobody read. */
  get unread(): readonly string[] {
    return this.names.filter((name) => !this.#read.has(name));
  }

  /** The objects within that were read as {@linkcode object}. */
  get nested(): readonly Entries[] {
    return this.#nested;
  }

  #value(entry: string): unknown {
    const name = this.#written(entry);
    this.#read.add(name);
    // A file may have it under both names.
    if (this.json[entry] === this.json[name]) this.#read.add(entry);
    const value = Object.hasOwn(this.json, name) ? this.json[name] : undefined;
    return value === undefined ? this.#options.defaults?.[entry] : value;
  }

  #written(entry: string): string {
    const own = this.#options.names?.[entry];
    return own !== undefined && Object.hasOwn(this.json, own) ? own : entry;
  }
}

/** Whether a value is a JSON object. */
export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
