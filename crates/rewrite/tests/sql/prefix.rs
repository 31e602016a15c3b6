//! Table prefixes in dumps.

use wpclone_rewrite::{DumpOptions, PrefixMapping};

use crate::{assert_rewritten_with, assert_unchanged_with, renaming, rewrite};

#[test]
fn tables_are_renamed_in_every_statement() {
    assert_rewritten_with(
        &renaming(),
        &[
            ("DROP TABLE IF EXISTS `wp_posts`;", "DROP TABLE IF EXISTS `x7_posts`;"),
            ("DROP TABLE `wp_a`, wp_b;", "DROP TABLE `x7_a`, x7_b;"),
            ("/*!50001 DROP VIEW IF EXISTS `wp_v`*/;", "/*!50001 DROP VIEW IF EXISTS `x7_v`*/;"),
            (
                "LOCK TABLES `wp_a` WRITE, `wp_b` READ;UNLOCK TABLES;",
                "LOCK TABLES `x7_a` WRITE, `x7_b` READ;UNLOCK TABLES;",
            ),
            ("/*!40000 ALTER TABLE `wp_a` DISABLE KEYS */;", "/*!40000 ALTER TABLE `x7_a` DISABLE KEYS */;"),
            ("INSERT INTO `wp_a` VALUES ('wp_a');", "INSERT INTO `x7_a` VALUES ('wp_a');"),
            ("INSERT IGNORE wp_a VALUES ('wp_a');", "INSERT IGNORE x7_a VALUES ('wp_a');"),
            (
                "REPLACE INTO `wp_db`.`wp_a` (`wp_b`) VALUES (1);",
                "REPLACE INTO `wp_db`.`x7_a` (`wp_b`) VALUES (1);",
            ),
            ("TRUNCATE wp_a;TRUNCATE TABLE `wp_a`;", "TRUNCATE x7_a;TRUNCATE TABLE `x7_a`;"),
            (
                "RENAME TABLE wp_a TO wp_b;ALTER TABLE wp_a RENAME TO wp_b;",
                "RENAME TABLE x7_a TO x7_b;ALTER TABLE x7_a RENAME TO x7_b;",
            ),
            ("UPDATE wp_a SET wp_b='wp_c';", "UPDATE x7_a SET wp_b='wp_c';"),
            ("CREATE TABLE wp_a LIKE wp_b;", "CREATE TABLE x7_a LIKE x7_b;"),
            ("INSERT INTO wp_a SELECT * FROM wp_b;", "INSERT INTO x7_a SELECT * FROM x7_b;"),
            (
                "CREATE TABLE IF NOT EXISTS `wp_a` (`wp_b` int, wp_c text DEFAULT 'wp_d', PRIMARY KEY (`wp_b`), KEY `wp_k` (`wp_b`,`wp_c`), CONSTRAINT `wp_a_ibfk_1` FOREIGN KEY (`wp_b`) REFERENCES `wp_e` (`wp_f`) ON UPDATE CASCADE) COMMENT='wp_g';",
                "CREATE TABLE IF NOT EXISTS `x7_a` (`wp_b` int, wp_c text DEFAULT 'wp_d', PRIMARY KEY (`wp_b`), KEY `wp_k` (`wp_b`,`wp_c`), CONSTRAINT `x7_a_ibfk_1` FOREIGN KEY (`wp_b`) REFERENCES `x7_e` (`wp_f`) ON UPDATE CASCADE) COMMENT='wp_g';",
            ),
            (
                "/*!50001 CREATE ALGORITHM=UNDEFINED */ /*!50013 DEFINER=`wp_u`@`localhost` SQL SECURITY DEFINER */ /*!50001 VIEW `wp_v` AS select `wp_a`.`wp_b` AS `wp_b`,`p`.`c` AS `wp_c` from (`wp_a` join `wp_d` `p` on(`wp_a`.`wp_b` = `p`.`c`)) where `wp_a`.`x` like 'wp_a' */;",
                "/*!50001 CREATE ALGORITHM=UNDEFINED */ /*!50013 DEFINER=`wp_u`@`localhost` SQL SECURITY DEFINER */ /*!50001 VIEW `x7_v` AS select `x7_a`.`wp_b` AS `wp_b`,`p`.`c` AS `wp_c` from (`x7_a` join `x7_d` `p` on(`x7_a`.`wp_b` = `p`.`c`)) where `x7_a`.`x` like 'wp_a' */;",
            ),
            (
                "CREATE VIEW wp_v AS SELECT wp_a.b, wp_b FROM wp_a p, wp_c WHERE 1",
                "CREATE VIEW x7_v AS SELECT x7_a.b, wp_b FROM x7_a p, x7_c WHERE 1",
            ),
        ],
    );
}

#[test]
fn other_tables_keep_their_names() {
    assert_unchanged_with(
        &renaming(),
        &[
            "CREATE TRIGGER wp_t BEFORE INSERT ON wp_a FOR EACH ROW INSERT INTO wp_b VALUES (1);",
            "DROP TRIGGER IF EXISTS wp_t; DROP FUNCTION IF EXISTS wp_f; CREATE DATABASE `wp_db`; USE `wp_db`;",
            "SELECT * FROM wp_a; -- wp_a\n/* FROM wp_a */",
            "INSERT INTO `wp_` VALUES (1);INSERT INTO other VALUES ('x');DROP TABLE wordpress;",
            "SET @wp_a = 'wp_b';",
        ],
    );
}

#[test]
fn options_and_user_metadata_are_renamed_in_their_columns() {
    assert_rewritten_with(
        &renaming(),
        &[
            (
                "INSERT INTO `wp_options` VALUES (1,'wp_user_roles','wp_user_roles','yes'),(2,'wp_page','x','no');",
                "INSERT INTO `x7_options` VALUES (1,'x7_user_roles','wp_user_roles','yes'),(2,'wp_page','x','no');",
            ),
            (
                "INSERT INTO `wp_2_options` (option_name, x) VALUES ('wp_2_user_roles',1);",
                "INSERT INTO `x7_2_options` (option_name, x) VALUES ('x7_2_user_roles',1);",
            ),
            (
                "INSERT INTO `wp_usermeta` VALUES (1,2,'wp_capabilities','wp_x'),(1,2,'nickname','wp_y'),(1,2,0x77705F782779,'http://example.com');",
                "INSERT INTO `x7_usermeta` VALUES (1,2,'x7_capabilities','wp_x'),(1,2,'nickname','wp_y'),(1,2,0x78375F782779,'https://new.example.org/shop');",
            ),
            (
                r"INSERT INTO wp_usermeta VALUES (1,2,'wp_it\'s''','');",
                r"INSERT INTO x7_usermeta VALUES (1,2,'x7_it\'s''','');",
            ),
            (
                "CREATE TABLE `wp_usermeta` (meta_key varchar(255), `x` int, PRIMARY KEY (x));INSERT INTO wp_usermeta VALUES ('wp_a','wp_b','wp_c');",
                "CREATE TABLE `x7_usermeta` (meta_key varchar(255), `x` int, PRIMARY KEY (x));INSERT INTO x7_usermeta VALUES ('x7_a','wp_b','wp_c');",
            ),
            (
                "INSERT INTO `wp_postmeta` VALUES (1,2,'wp_capabilities','x');INSERT INTO other_options VALUES (1,'wp_user_roles');",
                "INSERT INTO `x7_postmeta` VALUES (1,2,'wp_capabilities','x');INSERT INTO other_options VALUES (1,'wp_user_roles');",
            ),
        ],
    );
    let (_, report) = rewrite(&renaming(), b"INSERT INTO `wp_options` VALUES (1,'wp_user_roles','x','yes');");
    assert_eq!(report.prefix_renames, 2);
}

#[test]
fn prefixes_with_a_common_ending_are_changed() {
    let options = DumpOptions { prefix: Some(PrefixMapping::new("wp_", "a_wp_")), ..DumpOptions::default() };
    assert_rewritten_with(
        &options,
        &[(
            "INSERT INTO wp_options VALUES (1,'wp_user_roles');",
            "INSERT INTO a_wp_options VALUES (1,'a_wp_user_roles');",
        )],
    );
    let options = DumpOptions { prefix: Some(PrefixMapping::new("a_wp_", "wp_")), ..DumpOptions::default() };
    assert_rewritten_with(
        &options,
        &[(
            "INSERT INTO a_wp_options VALUES (1,'a_wp_user_roles');",
            "INSERT INTO wp_options VALUES (1,'wp_user_roles');",
        )],
    );
}
