SET sql_mode = '';
INSERT INTO wp_options (option_name, option_value, autoload)
  VALUES ('huge', REPEAT('0123456789abcdef%s\n\0\\''"', 953251), 'no');
UPDATE wp_options SET option_value = LEFT(option_value, 20971520) WHERE option_name = 'huge';

CREATE TABLE wp_many (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, t LONGTEXT NOT NULL, n INT NULL, KEY n (n))
  ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'it''s "many" %s';
INSERT INTO wp_many (t, n) SELECT CONCAT(REPEAT(CONCAT('Grüße 🚀 ', seq), 1 + seq % 97), seq), IF(seq % 3, seq, NULL) FROM seq_1_to_15000;

CREATE TABLE wp_composite (a INT NOT NULL, b VARCHAR(40) NOT NULL, c DATETIME NOT NULL, v TEXT, PRIMARY KEY (a, b, c))
  DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
INSERT INTO wp_composite SELECT CAST(seq % 7 AS SIGNED) - 3, CONCAT(CHAR(97 + seq % 26), ' ', seq DIV 26), '2020-02-02 02:02:02', seq FROM seq_1_to_9000;

CREATE TABLE wp_nokey (n INT, t VARCHAR(50)) ENGINE = InnoDB;
INSERT INTO wp_nokey SELECT seq % 50, REPEAT('x', seq % 50) FROM seq_1_to_4000;
CREATE TABLE wp_nokey_myisam (n INT, t VARCHAR(50), big LONGBLOB) ENGINE = MyISAM;
INSERT INTO wp_nokey_myisam SELECT seq % 50, NULL, IF(seq % 500, 'small', REPEAT(CHAR(seq % 256), 300000 + seq)) FROM seq_1_to_2000;
CREATE TABLE wp_nullkey (n INT NULL, UNIQUE KEY n (n));
INSERT INTO wp_nullkey VALUES (1), (2), (NULL), (NULL), (3);
CREATE TABLE wp_enumkey (e ENUM('z','a','m') NOT NULL, n INT NOT NULL, PRIMARY KEY (e, n));
INSERT INTO wp_enumkey SELECT ELT(1 + seq % 3, 'z', 'a', 'm'), seq FROM seq_1_to_900;
CREATE TABLE wp_uniquekey (n INT, u VARBINARY(20) NOT NULL, UNIQUE KEY u (u));
INSERT INTO wp_uniquekey VALUES (1, ''), (2, x'00'), (3, x'FF00'), (4, '1'), (5, 'a'), (6, 'A'), (7, '1.5');

CREATE TABLE wp_textkey (k VARCHAR(191) NOT NULL PRIMARY KEY, v INT) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;
INSERT INTO wp_textkey VALUES ('', 1), ('a', 2), ('ä-1', 3), ('Z', 4), ('ß', 5), ('%s', 6), ('''"\\', 7), ('日本', 8), (REPEAT('🚀', 191), 9), (CONCAT(REPEAT('🚀', 190), 'x'), 10), ('zz', 11);
INSERT INTO wp_textkey SELECT CONCAT(REPEAT('🚀', 150), seq), seq FROM seq_1_to_300;

CREATE TABLE wp_latin1 (id INT PRIMARY KEY, t TEXT, c CHAR(10), e ENUM('ü','x')) DEFAULT CHARSET = latin1;
INSERT INTO wp_latin1 VALUES (1, x'C3BC20E282AC', x'FC', 'ü'), (2, x'8081828D8F909DFF00', 'x  ', 'x'), (3, x'F09F9A80', '', '');
CREATE TABLE wp_latin1_key (t VARCHAR(20) NOT NULL PRIMARY KEY) DEFAULT CHARSET = latin1;
INSERT INTO wp_latin1_key VALUES (x'C3BC'), (x'FC62'), (x'80'), ('z');

CREATE TABLE wp_kinds (
  id INT PRIMARY KEY, b1 BIT(1), b13 BIT(13), b64 BIT(64), p POINT, g GEOMETRY, d DATE, dt DATETIME(6), ts TIMESTAMP NULL, y YEAR, ti TIME(3),
  de DECIMAL(65,30), f FLOAT, f2 FLOAT(7,3), do DOUBLE, e ENUM('','a','it''s,"x"\\') DEFAULT 'a', s SET('a','b','c'), bi BINARY(4), vb VARBINARY(300), bl BLOB, j JSON,
  z INT(8) UNSIGNED ZEROFILL, c CHAR(5), virt INT GENERATED ALWAYS AS (z + 1) VIRTUAL, sto VARBINARY(400) GENERATED ALWAYS AS (CONCAT(vb, '%')) STORED,
  CONSTRAINT zc CHECK (z < 99999999));
INSERT INTO wp_kinds (id, b1, b13, b64, p, g, d, dt, ts, y, ti, de, f, f2, do, e, s, bi, vb, bl, j, z, c) VALUES
  (1, 1, 4097, 18446744073709551615, POINT(1, 2), ST_GEOMFROMTEXT('POLYGON((0 0,1 0,1 1,0 0))', 4326), '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', 0, '-838:59:59.999',
   12345678901234567890123456789012345.123456789012345678901234567890, 0.1, 1234.567, 0.1, 'it''s,"x"\\', 'a,c', 'a', x'00FF', x'000102030D0A1A22275C80FF', '{"a": [1, "ü", "\\u00fc"]}', 7, 'ab  '),
  (2, 0, 0, 0, NULL, NULL, '2020-02-30', '9999-12-31 23:59:59.999999', '2021-03-28 01:30:00', 2155, '00:00:00', -0.5, 3.4028235e38, -0.001, -1.7976931348623157e308, '', '', '', '', '', '"x"', 0, ''),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (4, 1, 1, 1, NULL, NULL, '2020-02-29', '2020-02-29 12:00:00', '2020-02-29 12:00:00', 2020, '12:00:00', 0, 16777217, 0.1, 4.9e-324, 'nonsense', 'b', x'00000000', ' ', 'NULL', 'null', 1, 'x');
UPDATE wp_kinds SET d = '2020-00-00' WHERE id = 2;

CREATE TABLE wp_parent (id INT PRIMARY KEY) ENGINE = InnoDB;
CREATE TABLE wp_child (id INT PRIMARY KEY, parent INT, CONSTRAINT odd_fk FOREIGN KEY (parent) REFERENCES wp_parent (id) ON DELETE CASCADE ON UPDATE SET NULL) ENGINE = InnoDB;
INSERT INTO wp_parent VALUES (1), (2); INSERT INTO wp_child VALUES (1, 1), (2, NULL);
CREATE TABLE wp_empty (id INT PRIMARY KEY);
CREATE TABLE `wp_o``dd %s ü` (`a``b %d ü` INT PRIMARY KEY, `select` TEXT);
INSERT INTO `wp_o``dd %s ü` VALUES (1, 'x');
CREATE TABLE wp_defaults (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, a VARCHAR(20) NOT NULL DEFAULT 'it''s %s \\ x', b DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  c TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), d INT DEFAULT 5, e INT NOT NULL, f TEXT DEFAULT NULL, g BIT(4) DEFAULT b'101', h INT DEFAULT (1 + 2), i VARCHAR(5) DEFAULT '',
  FULLTEXT KEY ft (f), KEY pre (a(3)), KEY two (d, e DESC)) ROW_FORMAT = COMPRESSED AUTO_INCREMENT = 777;
CREATE VIEW wp_view AS SELECT n, t FROM wp_nokey WHERE n > 3;
CREATE TRIGGER wp_trigger BEFORE INSERT ON wp_empty FOR EACH ROW SET NEW.id = NEW.id + 1;

-- Tables of another installation in the same database.
CREATE TABLE wp_shop_options (id INT); CREATE TABLE wp_shop_posts (id INT); CREATE TABLE wp_shop_postmeta (id INT); CREATE TABLE wp_shop_terms (id INT);
CREATE TABLE elsewhere (id INT); CREATE TABLE wp_wpclone_left (id INT);
