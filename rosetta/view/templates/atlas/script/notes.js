/**
 * Notes on concepts: those of the reader, which this browser keeps, and those that were merged into the run. Both are
 * what someone else may have written, so they are checked, and shown as text.
 *
 * @typedef {object} Note
 * @property {number} concept
 * @property {string} name
 * @property {boolean} starred
 * @property {string} note
 * @property {string} when UTC, ISO 8601
 * @property {string} [author]
 */
(() => {
  const { run } = atlas;
  const [FORMAT, VERSION] = ["rosetta-notes", 1];
  /** As in rosetta/naming/notes.py. */
  const LIMITS = { bytes: 4 * 2 ** 20, name: 100, note: 2000 };
  const KEY = `rosetta-notes ${run.dictionary}`;
  const AUTHOR = "rosetta-notes author";
  const NONE = { name: "", starred: false, note: "", when: "" };
  /** @type {Map<number, Note>} */
  const own = new Map();
  /** @type {Map<number, Note[]>} the latest first */
  const given = new Map();
  /** @type {Set<(concept: number) => void>} */
  const watchers = new Set();

  /** A text without what moves a terminal or breaks a line. @param {unknown} text @param {number} most */
  function plain(text, most, allowed = "") {
    if (typeof text !== "string" || text.length > most) throw new Error(`a text of more than ${most} characters`);
    const bare = [...text].filter((letter) => !allowed.includes(letter)).join("");
    if (/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(bare)) throw new Error("a text with control characters");
    return text.trim();
  }

  /** @param {any} entry @returns {Note} */
  function checked(entry) {
    const { concept, name = "", starred = false, note = "", when } = entry ?? {};
    if (!Number.isInteger(concept) || concept < 0 || concept >= run.concepts)
      throw new Error(`concept ${String(concept).slice(0, 20)}, which this dictionary does not have`);
    const time = typeof when === "string" ? new Date(when) : new Date(NaN);
    if (Number.isNaN(time.getTime())) throw new Error(`no time of the note on concept ${concept}`);
    if (typeof starred !== "boolean") throw new Error(`a star that is neither true nor false on concept ${concept}`);
    const texts = { name: plain(name, LIMITS.name), note: plain(note, LIMITS.note, "\n\t") };
    return { concept, starred, ...texts, when: time.toISOString() };
  }

  /** Storage may be shut, of a page that is read from disk say. @param {() => any} use */
  function tried(use) {
    try {
      return use();
    } catch {
      return null;
    }
  }

  /** Whether this browser keeps the notes. */
  let kept = true;
  function save() {
    const text = JSON.stringify([...own.values()]);
    kept = tried(() => (localStorage.setItem(KEY, text), true)) === true;
  }

  function restore() {
    const stored = tried(() => JSON.parse(localStorage.getItem(KEY) ?? "[]"));
    for (const entry of Array.isArray(stored) ? stored : []) {
      const note = tried(() => checked(entry));
      if (note) own.set(note.concept, note);
    }
  }

  /** @param {number} concept */
  const tell = (concept) => watchers.forEach((watch) => watch(concept));

  /** @param {number} concept @param {Partial<Note>} changes */
  function set(concept, changes) {
    const note = { ...NONE, ...own.get(concept), ...changes, concept, when: new Date().toISOString() };
    own.set(concept, checked(note));
    save();
    tell(concept);
  }

  const says = (note) => note.starred || note.name !== "" || note.note !== "";

  /** As text of a file, also what takes back an earlier note. @param {string} author */
  const written = (author) =>
    JSON.stringify(
      {
        format: FORMAT,
        version: VERSION,
        run: run.name,
        dictionary: run.dictionary,
        author,
        notes: [...own.values()].sort((a, b) => a.concept - b.concept),
      },
      null,
      1,
    );

  /**
   * Take the notes of a file: of each concept the later of two stays.
   * @param {string} text @param {boolean} anyway also those on another dictionary
   * @returns {number} how many were taken
   */
  function read(text, anyway) {
    if (text.length > LIMITS.bytes) throw new Error("This file is larger than 4 MiB: no file of notes.");
    let file;
    try {
      file = JSON.parse(text);
    } catch {
      throw new Error("This file is not JSON: no file of notes.");
    }
    if (file?.format !== FORMAT || !Array.isArray(file.notes)) throw new Error("This file has no notes.");
    if (file.version !== VERSION) throw new Error(`This page reads version ${VERSION} of files of notes, not this one.`);
    if (file.dictionary !== run.dictionary && !anyway)
      throw Object.assign(new Error("These notes are on another dictionary, whose numbers mean other concepts."), {
        foreign: true,
      });
    let notes;
    try {
      notes = file.notes.map(checked);
    } catch (error) {
      throw new Error(`Nothing was taken: the file has ${error.message}.`);
    }
    const later = notes.filter((note) => note.when > (own.get(note.concept)?.when ?? ""));
    for (const note of later) own.set(note.concept, note);
    save();
    for (const note of later) tell(note.concept);
    return later.length;
  }

  /** Once those are there that were merged into the run. */
  async function ready() {
    if (!run.notes || given.size) return;
    for (const note of (await tried(() => atlas.load("notes").catch(() => []))) ?? [])
      given.set(note.concept, [...(given.get(note.concept) ?? []), note].sort((a, b) => (a.when < b.when ? 1 : -1)));
  }

  restore();
  atlas.notes = {
    LIMITS,
    ready,
    /** The reader's own. @param {number} concept @returns {Note} */
    of: (concept) => own.get(concept) ?? { ...NONE, concept },
    /** Those that were merged into the run. @param {number} concept */
    given: (concept) => given.get(concept) ?? [],
    /** What a concept is called: by the reader, else by whoever named it last. @param {number} concept */
    name: (concept) => own.get(concept)?.name || (given.get(concept) ?? []).find((note) => note.name)?.name || "",
    starred: (concept) =>
      Boolean(own.get(concept)?.starred) || (given.get(concept) ?? []).some((note) => note.starred),
    /** All that is noted, for the search. @param {number} concept */
    text: (concept) =>
      [own.get(concept) ?? NONE, ...(given.get(concept) ?? [])].map((note) => `${note.name} ${note.note}`).join(" "),
    /** The concepts that anyone noted something of. */
    noted: () =>
      [...new Set([...[...own.values()].filter(says).map((note) => note.concept), ...given.keys()])].sort((a, b) => a - b),
    own: () => [...own.values()].filter(says),
    isKept: () => kept,
    author: {
      get: () => tried(() => localStorage.getItem(AUTHOR)) ?? "",
      set: (name) => tried(() => localStorage.setItem(AUTHOR, name)),
    },
    set,
    read,
    written,
    /** @param {(concept: number) => void} watch @returns {() => void} ends it */
    watch: (watch) => {
      watchers.add(watch);
      return () => watchers.delete(watch);
    },
  };
})();
