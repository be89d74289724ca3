/** Elements, made without markup: whatever a name holds goes in as text. */
(() => {
  const SVG = "http://www.w3.org/2000/svg";

  /**
   * Fill an element with attributes, if the first of what is given are some, and with children.
   * @param {Element} element
   */
  function fill(element, given) {
    const [first] = given;
    const attributes = first?.constructor === Object ? first : {};
    const children = first === attributes ? given.slice(1) : given;
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "style")
        for (const [key, text] of Object.entries(value)) /** @type {any} */ (element).style.setProperty(key, text);
      else element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  /**
   * `h("a.card.wide", {href: "#/"}, "text", otherElement)`, `h("p", "text")`.
   * @param {string} what tag and classes @param {...any} given attributes, if there are any, then children
   * @returns {any}
   */
  function h(what, ...given) {
    const [tag, ...classes] = what.split(".");
    const element = document.createElement(tag);
    if (classes.length) element.className = classes.join(" ");
    return fill(element, given);
  }

  /** The same for SVG. @param {string} tag */
  const s = (tag, ...given) => fill(document.createElementNS(SVG, tag), given);

  /** Tell readers of the screen, without moving what they look at. @param {string} text */
  function say(text) {
    document.getElementById("said").textContent = text;
  }

  atlas.h = h;
  atlas.s = s;
  atlas.say = say;
})();
