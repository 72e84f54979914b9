/**
 * Minifies the WGSL of kernels for bundles: drops comments and blank space, shortens names, and puts the module's literal
 * constants where they are used. What a host sees keeps its name: entry points and overrides.
 *
 * @module
 */

/** Comments, names, numbers and operators of WGSL. A template list ends with a token for each bracket. */
const TOKEN =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|\s+|[\p{XID_Start}_]\p{XID_Continue}*|(?:0[xX][\da-fA-F.]+(?:[pP][+-]?\d+)?|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[iufh]?|[\s\S]/gu;

const NAME = /^[\p{XID_Start}_]/u;
const OPERATOR = /[-+*/%&|^!=<>]/;

/** Attributes whose arguments are names of WGSL's own. */
const CONTEXT_ATTRIBUTES: ReadonlySet<string> = new Set(["builtin", "diagnostic", "interpolate"]);

const DIRECTIVES: ReadonlySet<string> = new Set(["enable", "requires", "diagnostic"]);

const STAGES: ReadonlySet<string> = new Set(["compute", "vertex", "fragment"]);

/** Keywords behind which a name is declared that may change. */
const DECLARING: ReadonlySet<string> = new Set(["alias", "const", "fn", "let", "struct", "var"]);

/** Names that WGSL gives types, address spaces and access modes: a declaration of such a name is left alone. */
const PREDECLARED =
  /^(bool|f16|f32|i32|u32|(vec|mat)[234]\w*|array|atomic|ptr|sampler\w*|texture_\w+|read|write|read_write|function|private|workgroup|uniform|storage)$/;

/** Keywords and reserved words as short as new names. */
const SHORT_WORDS: ReadonlySet<string> = new Set(["as", "do", "fn", "if", "is", "of"]);

interface Token {
  readonly value: string;
  /** Whether blank space or a comment stood before it. */
  readonly spaced: boolean;
  /** Whether it is a name of WGSL's own, by where it stands. */
  readonly fixed: boolean;
}

/** Old names to new ones. */
type Names = ReadonlyMap<string, string>;

/** Minifies one module that compiles; what becomes of any other is not defined. */
export function minifyWgsl(wgsl: string): string {
  const declarations = inlineConstants(splitDeclarations(tokenize(wgsl)));
  const members = nameMembers(declarations);
  const globals = nameGlobals(declarations);
  const habits = new Map<string, string>();
  return join(declarations.flatMap((tokens) => {
    const locals = nameLocals(tokens, globals, habits);
    return tokens.map((token, i): Token => {
      const { value, fixed } = token;
      if (fixed || !NAME.test(value)) return token;
      const names = isMember(tokens, i) ? members : locals.has(value) ? locals : globals;
      return { ...token, value: names.get(value) ?? value };
    });
  }));
}

function tokenize(wgsl: string): Token[] {
  const tokens: Token[] = [];
  let spaced = false;
  // Bracket depth within an attribute whose arguments are WGSL's own names.
  let depth = 0;
  let isDirective = false;
  for (const [value] of wgsl.matchAll(TOKEN)) {
    if (/^(\s|\/\/|\/\*)/.test(value)) {
      spaced = true;
      continue;
    }
    const previous = tokens.at(-1)?.value;
    // Directives come before everything else.
    if (previous === undefined || (previous === ";" && isDirective)) {
      isDirective = DIRECTIVES.has(value);
    }
    const opensContext = tokens.at(-2)?.value === "@" && CONTEXT_ATTRIBUTES.has(previous!);
    if (value === "(" && (depth > 0 || opensContext)) depth++;
    if (value === ")" && depth > 0) depth--;
    tokens.push({ value, spaced, fixed: previous === "@" || depth > 0 || isDirective });
    spaced = false;
  }
  return tokens;
}

/** Cuts a module after each declaration of module scope. */
function splitDeclarations(tokens: readonly Token[]): Token[][] {
  const declarations: Token[][] = [];
  let current: Token[] = [];
  let depth = 0;
  for (const token of tokens) {
    current.push(token);
    if (token.value === "{") depth++;
    if (token.value === "}") depth--;
    if (depth === 0 && (token.value === ";" || token.value === "}")) {
      declarations.push(current);
      current = [];
    }
  }
  if (current.length > 0) declarations.push(current);
  return declarations;
}

/** Replaces constants of module scope that are one number. */
function inlineConstants(declarations: readonly (readonly Token[])[]): Token[][] {
  const numbers = new Map<string, string>();
  for (const tokens of declarations) {
    const [keyword, name, ...rest] = tokens.map(({ value }) => value);
    if (keyword !== "const") continue;
    const [value, end] = rest.slice(rest.indexOf("=") + 1);
    // The suffix is the type: a number without one could be of another type elsewhere.
    if (end === ";" && /[iuf]$/.test(value!)) numbers.set(name!, value!);
  }
  for (const tokens of declarations) {
    for (const name of localNames(tokens)) numbers.delete(name);
  }
  return declarations
    .filter(([keyword, name]) => !(keyword!.value === "const" && numbers.has(name!.value)))
    .map((tokens) =>
      tokens.map((token, i) => {
        const number = isMember(tokens, i) ? undefined : numbers.get(token.value);
        return number === undefined || token.fixed ? token : { ...token, value: number };
      })
    );
}

/** Whether the name at an index is a struct's member, where it is declared or behind a dot. */
function isMember(tokens: readonly Token[], index: number): boolean {
  if (tokens[index - 1]?.value === ".") return true;
  return tokens[0]!.value === "struct" && index > 1 && tokens[index + 1]?.value === ":";
}

/** The name that a declaration of module scope gives, unless a host sees it. */
function globalName(tokens: readonly Token[]): string | undefined {
  if (tokens.some(({ value }, i) => tokens[i - 1]?.value === "@" && STAGES.has(value))) {
    return undefined;
  }
  const index = tokens.findIndex(({ value }) => DECLARING.has(value) || value === "override");
  if (index < 0 || tokens[index]!.value === "override") return undefined;
  return declaredAfter(tokens, index);
}

/** The name that the keyword at an index declares. */
function declaredAfter(tokens: readonly Token[], index: number): string | undefined {
  let at = index + 1;
  // var<storage, read>
  if (tokens[at]?.value === "<") {
    at = tokens.findIndex(({ value }, i) => i > at && value === ">") + 1;
  }
  return tokens[at]?.value;
}

/** Parameters and variables of a function, in order; of other declarations none. */
function localNames(tokens: readonly Token[]): string[] {
  const start = tokens.findIndex(({ value }) => value === "fn");
  if (start < 0 || tokens[0]!.value === "struct") return [];
  const names: string[] = [];
  for (let i = start + 2; i < tokens.length; i++) {
    const { value, fixed } = tokens[i]!;
    if (["let", "var", "const"].includes(value)) {
      names.push(declaredAfter(tokens, i)!);
    } else if (NAME.test(value) && !fixed && tokens[i + 1]?.value === ":") {
      // A parameter: in a body, only a variable, a case and "default" have a colon behind them.
      if (tokens.slice(start, i).some((token) => token.value === "{")) continue;
      names.push(value);
    }
  }
  return [...new Set(names)];
}

function nameMembers(declarations: readonly (readonly Token[])[]): Names {
  const counts = new Map<string, number>();
  const components = new Set<string>();
  for (const tokens of declarations) {
    tokens.forEach(({ value, fixed }, i) => {
      if (fixed || !NAME.test(value) || !isMember(tokens, i)) return;
      if (tokens[0]!.value === "struct" && tokens[i - 1]!.value !== ".") {
        counts.set(value, counts.get(value) ?? 0);
      } else if (counts.has(value)) {
        counts.set(value, counts.get(value)! + 1);
      }
      // A member may be named as components of vectors are, and those have to keep their names.
      if (/^([rgba]{1,4}|[xyzw]{1,4})$/.test(value)) components.add(value);
    });
  }
  for (const name of components) counts.delete(name);
  return assign(byCount(counts), components);
}

function nameGlobals(declarations: readonly (readonly Token[])[]): Names {
  const counts = new Map<string, number>();
  for (const tokens of declarations) {
    const name = globalName(tokens);
    if (name !== undefined && !PREDECLARED.test(name)) counts.set(name, 0);
  }
  const taken = new Set<string>();
  for (const tokens of declarations) {
    tokens.forEach(({ value }, i) => {
      if (!NAME.test(value) || isMember(tokens, i)) return;
      if (counts.has(value)) counts.set(value, counts.get(value)! + 1);
      else taken.add(value);
    });
  }
  return assign(byCount(counts), taken, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
}

/**
 * New names for what a function declares. Where it can, a name gets what other functions called it, because repetition
 * compresses well. A name that module scope has, too, follows that one.
 *
 * @param habits What earlier functions called their names; extended.
 */
function nameLocals(tokens: readonly Token[], globals: Names, habits: Map<string, string>): Names {
  const called = new Set(tokens.filter((_, i) => tokens[i + 1]?.value === "(").map((t) => t.value));
  // What is called is WGSL's own function of that name.
  const names = localNames(tokens).filter((name) =>
    !globals.has(name) && !called.has(name) && !PREDECLARED.test(name)
  );
  const taken = new Set(
    tokens.filter(({ value }) => NAME.test(value) && !names.includes(value))
      .map(({ value }) => globals.get(value) ?? value),
  );
  const locals = new Map<string, string>();
  for (const name of names) {
    const habit = habits.get(name);
    if (habit === undefined || taken.has(habit)) continue;
    locals.set(name, habit);
    taken.add(habit);
  }
  const others = assign(names.filter((name) => !locals.has(name)), taken);
  for (const [name, fresh] of others) {
    locals.set(name, fresh);
    if (!habits.has(name)) habits.set(name, fresh);
  }
  return locals;
}

function byCount(counts: ReadonlyMap<string, number>): string[] {
  return [...counts].sort(([, a], [, b]) => b - a).map(([name]) => name);
}

const LETTERS = "abcdefghijklmnopqrstuvwxyz";

/** Names of one letter, then of two, and so on, but for those that mean something already. */
function assign(
  names: readonly string[],
  taken: ReadonlySet<string>,
  letters: string = LETTERS,
): Names {
  const assigned = new Map<string, string>();
  for (let index = 1; assigned.size < names.length; index++) {
    let fresh = "";
    for (let rest = index; rest > 0; rest = Math.floor((rest - 1) / letters.length)) {
      fresh = letters[(rest - 1) % letters.length] + fresh;
    }
    if (!taken.has(fresh) && !SHORT_WORDS.has(fresh)) assigned.set(names[assigned.size]!, fresh);
  }
  return assigned;
}

/** The tokens' text, with blank space only where two would be one without. */
function join(tokens: readonly Token[]): string {
  let text = "";
  tokens.forEach(({ value, spaced }, i) => {
    const next = tokens[i + 1]?.value;
    // A comma before a closing bracket says nothing.
    if (value === "," && (next === ")" || next === "}" || next === "]")) return;
    const last = text.at(-1);
    const isWord = (character: string) => /[\p{XID_Continue}.]/u.test(character);
    if (
      spaced && last !== undefined &&
      ((isWord(last) && isWord(value[0]!)) || (OPERATOR.test(last) && OPERATOR.test(value[0]!)))
    ) {
      text += " ";
    }
    text += value;
  });
  return text;
}
