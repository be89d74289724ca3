/**
 * The words of a vocabulary and how well they fit each concept, as the model saw it that named them. Nothing here
 * understands a word: one that the vocabulary lacks has only neighbours by spelling.
 */
(() => {
  const ABOVE = 128;
  /** @param {string} text */
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  /** How many letters must change. @param {string} one @param {string} other @param {number} most that count */
  function distance(one, other, most) {
    if (Math.abs(one.length - other.length) > most) return most + 1;
    let [before, row] = [[], Array.from({ length: other.length + 1 }, (_, place) => place)];
    for (let i = 1; i <= one.length; i += 1) {
      const next = [i];
      for (let j = 1; j <= other.length; j += 1) {
        const change = row[j - 1] + Number(one[i - 1] !== other[j - 1]);
        next.push(Math.min(change, row[j] + 1, next[j - 1] + 1));
        const swapped = i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1];
        if (swapped) next[j] = Math.min(next[j], before[j - 2] + 1);
      }
      [before, row] = [row, next];
    }
    return row[other.length];
  }

  /** @param {any} data of `words` */
  function vocabulary(data) {
    const lower = data.words.map((word) => word.toLowerCase());
    const places = new Map(lower.map((word, place) => [word, place]));
    const score = bytes(data.score);
    const kept = data.word === null ? null : new Uint16Array(bytes(data.word).buffer);

    /** Where the score of a word for a row of concepts stands, −1 where it was not kept. */
    function at(row, word) {
      if (!kept) return row * data.kept + word;
      const place = kept.subarray(row * data.kept, (row + 1) * data.kept).indexOf(word);
      return place < 0 ? -1 : row * data.kept + place;
    }

    /** @param {number} row @param {number} byte */
    function value(row, byte) {
      const [low, high] = [data.low[row], data.high[row]];
      const middle = text.clamp(data.null[row] ?? high, low, high);
      if (byte < ABOVE) return low + ((middle - low) * byte) / (ABOVE - 1);
      return middle + ((high - middle) * (byte - ABOVE)) / (255 - ABOVE);
    }

    /**
     * How well a word fits each concept: its score, null where it is not known, and whether that is above chance.
     * @param {string} word
     * @returns {Map<number, {score: number|null, above: boolean}>} by concept
     */
    function fits(word) {
      const place = places.get(word.toLowerCase());
      return new Map(
        data.concept.map((concept, row) => {
          const where = place === undefined ? -1 : at(row, place);
          const byte = where < 0 ? 0 : score[where];
          return [concept, { score: where < 0 ? null : value(row, byte), above: byte >= ABOVE }];
        }),
      );
    }

    /** The words that are spelled most like a text: as its beginning, with it inside, with few letters changed. */
    function nearest(word, count = 6) {
      const typed = word.toLowerCase();
      const most = typed.length < 4 ? 1 : 2;
      const rank = (known) => {
        if (known.startsWith(typed)) return 0;
        const far = distance(typed, known, most);
        if (far <= most) return far;
        return typed.length > 2 && known.includes(typed) ? most + 1 : Infinity;
      };
      return lower
        .map((known, place) => ({ place, rank: rank(known), length: known.length }))
        .filter((one) => one.rank < Infinity)
        .sort((a, b) => a.rank - b.rank || a.length - b.length || a.place - b.place)
        .slice(0, count)
        .map((one) => data.words[one.place]);
    }

    return { count: lower.length, has: (word) => places.has(word.toLowerCase()), fits, nearest };
  }

  const { text } = atlas;
  let known = null;
  atlas.words = {
    /** The vocabulary, loaded when a word is first asked for; null where the run has none. */
    load: async () => {
      if (!atlas.run.words) return null;
      known ??= vocabulary(await atlas.load("words"));
      return known;
    },
    href: (word) => atlas.state.href("concepts", { word }),
  };
})();
