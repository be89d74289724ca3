"use strict";
/**
 * The atlas. Scripts are classic ones, each an idea that adds its part to this one object: a page opened from disk
 * can load scripts but neither modules nor data.
 *
 * @typedef {object} Layer
 * @property {string} name
 * @property {number} channels
 * @property {number} first the unit that its first channel is
 * @property {number} grid_y
 * @property {number} grid_x
 * @property {number} per_file units that share a file
 *
 * @typedef {object} Model
 * @property {string} name short, unique in the run
 * @property {string} model family and name
 * @property {string} kind
 * @property {boolean} control
 * @property {number} units
 * @property {number} matched
 * @property {number} buddies
 * @property {number} rosetta
 * @property {number|null} median
 * @property {Object<string, number|null>|null} survives buddies that pass each test
 * @property {Layer[]} layers
 *
 * @typedef {object} Test
 * @property {string} name
 * @property {string} word
 * @property {string} passed what holds for what passes it
 * @property {boolean} asked whether what is trusted must pass it
 *
 * @typedef {object} Run
 * @property {string} name
 * @property {number} anchor
 * @property {number} images that are kept
 * @property {number} seen images that all numbers are over
 * @property {number[]|null} indices of the images that are kept among all of the run; null where all are
 * @property {number} thumb
 * @property {number} per_sheet
 * @property {number} neighbours
 * @property {number[][]} heat red, green, blue of each stop
 * @property {number} concepts
 * @property {number} rosetta
 * @property {boolean} judged
 * @property {number} trusted Rosetta neurons
 * @property {number} trusted_concepts those with at least one of them
 * @property {Test[]} tests of trust
 * @property {string} judgement
 * @property {string} null how much of the dictionary chance would make; empty where that was left out
 * @property {string} fingerprint
 * @property {string} command
 * @property {string} root
 * @property {string|null} trust_page
 * @property {string[]} tables
 * @property {Object<string, string>} about what each table holds
 * @property {{table: string, command: string}[]} outdated tables of an earlier dictionary, which are not shown
 * @property {{called: number, name: number, label: number, class: number, effect: number}} found concepts with each
 * @property {number[]} shown
 * @property {any} strongest
 * @property {Model[]} models
 */
const atlas = {
  /** @type {Run} */
  run: JSON.parse(document.getElementById("run").textContent),
  /** Each view by its name: `show(root, state)` builds it and may return `update(state)`, `leave()` and `keys`. */
  views: {},
};
