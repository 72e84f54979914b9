/** One of an item's choices. */
export interface Choice {
  /** What it takes of the budget. */
  readonly cost: number;
  /** What it loses. */
  readonly loss: number;
}

/** Choices made so far, the last one first. */
interface Partial<Option> extends Choice {
  readonly option: Option | undefined;
  readonly before: Partial<Option> | undefined;
}

/** Partial solutions that are kept. Beyond it, one for each step of cost. */
const MOST_PARTIALS = 2048;

/** Relative error of sums of losses, compared with the sum of the largest. */
const ROUNDING = 1e-9;

/** Bisection steps for the price of a unit of cost. */
const PRICE_STEPS = 100;

/**
 * The multiple-choice knapsack: one choice for each item, so that the sum of the losses is least
 * among those whose costs sum to `budget` at most.
 *
 * Dynamic programming over the partial solutions that no other beats in both cost and loss, without
 * those that the Lagrangian relaxation rules out (Kellerer, Pferschy and Pisinger, Knapsack
 * Problems, 2004, §11). Exact while no more than {@linkcode MOST_PARTIALS} are left; beyond it,
 * those whose costs differ by less than that part of the range compete.
 *
 * @returns One choice for each item, or undefined where none fit the budget.
 */
export function solveKnapsack<Option extends Choice>(
  items: readonly (readonly Option[])[],
  budget: number,
): readonly Option[] | undefined {
  const fronts = items.map(unbeaten);
  // Least cost of the items from each one on.
  const least = suffixSums(fronts.map(([cheapest]) => cheapest!.cost));
  if (least[0]! > budget) return undefined;
  const { price, loss: known } = relax(fronts, budget);
  const bounds = suffixSums(
    fronts.map((front) => Math.min(...front.map(({ cost, loss }) => loss + price * cost))),
  );
  // Room for rounding, so that the best solution itself is never cut off.
  const scale = fronts.reduce((sum, front) => sum + Math.abs(front[0]!.loss), 0);
  const enough = known + ROUNDING * scale;

  let partials: Partial<Option>[] = [{ cost: 0, loss: 0, option: undefined, before: undefined }];
  for (const [i, front] of fronts.entries()) {
    const next: Partial<Option>[] = [];
    for (const before of partials) {
      for (const option of front) {
        const cost = before.cost + option.cost;
        const loss = before.loss + option.loss;
        if (cost + least[i + 1]! > budget) break;
        if (loss + bounds[i + 1]! - price * (budget - cost) > enough) continue;
        next.push({ cost, loss, option, before });
      }
    }
    partials = thin(unbeaten(next));
  }
  const solution: Option[] = [];
  for (let one = partials.at(-1); one?.option !== undefined; one = one.before) {
    solution.push(one.option);
  }
  return solution.reverse();
}

/**
 * The price of a unit of cost at which choosing item by item just keeps to the budget, and what
 * that solution loses once the rest of the budget is spent.
 */
function relax(
  fronts: readonly (readonly Choice[])[],
  budget: number,
): { readonly price: number; readonly loss: number } {
  function pick(price: number): Choice[] {
    return fronts.map((front) =>
      front.reduce((a, b) => b.loss + price * b.cost < a.loss + price * a.cost ? b : a)
    );
  }
  const costOf = (picked: readonly Choice[]) => picked.reduce((sum, { cost }) => sum + cost, 0);
  if (costOf(pick(0)) <= budget) {
    return { price: 0, loss: pick(0).reduce((sum, { loss }) => sum + loss, 0) };
  }
  let low = 0;
  // Above the slope of any step of any front: all items take their cheapest choice.
  let high = 1 +
    Math.max(
      0,
      ...fronts.flatMap((front) =>
        front.slice(1).map((one, i) => (front[i]!.loss - one.loss) / (one.cost - front[i]!.cost))
      ),
    );
  for (let step = 0; step < PRICE_STEPS; step++) {
    const middle = (low + high) / 2;
    if (costOf(pick(middle)) <= budget) high = middle;
    else low = middle;
  }
  const picked = pick(high);
  let room = budget - costOf(picked);
  picked.forEach((one, i) => {
    const better = fronts[i]!.findLast(({ cost }) => cost <= one.cost + room)!;
    if (better.loss >= one.loss) return;
    room -= better.cost - one.cost;
    picked[i] = better;
  });
  return { price: high, loss: picked.reduce((sum, { loss }) => sum + loss, 0) };
}

/** By rising cost and falling loss: those that cost least for their loss. */
function unbeaten<One extends Choice>(all: readonly One[]): One[] {
  const front: One[] = [];
  for (const one of all.toSorted((a, b) => a.cost - b.cost || a.loss - b.loss)) {
    if (front.length === 0 || one.loss < front.at(-1)!.loss) front.push(one);
  }
  return front;
}

/**
 * The last, and so the one that loses least, of each of {@linkcode MOST_PARTIALS} steps of cost.
 */
function thin<One extends Choice>(front: One[]): One[] {
  if (front.length <= MOST_PARTIALS) return front;
  const first = front[0]!.cost;
  const step = (front.at(-1)!.cost - first) / (MOST_PARTIALS - 2);
  const stepOf = ({ cost }: Choice) => Math.floor((cost - first) / step);
  // The cheapest is kept, too: it may be the only one that leaves room for the rest.
  return front.filter((one, i) =>
    i === 0 || i === front.length - 1 || stepOf(one) !== stepOf(front[i + 1]!)
  );
}

/** Sums from each element to the end; one more, 0, at the end. */
function suffixSums(values: readonly number[]): readonly number[] {
  const sums = [0];
  for (const value of values.toReversed()) sums.push(sums.at(-1)! + value);
  return sums.reverse();
}
